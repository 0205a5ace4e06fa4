package simulation

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// witness reads the ledger as an auditor would: record by record, and says which one breaks a promise.
type witness struct {
	position   domain.Position
	last       ulid.ULID // the record there
	endpoints  endpoints
	received   map[string]*received
	deliveries map[string]*delivered
	// intents by endpoint and signatures: an event that goes to an endpoint twice in one second, once as a replay, is
	// signed the same each time.
	intents map[string][]*intent
	ordered map[string]*order // by endpoint
	crossed int               // attempts at ordered endpoints that went before one that a person reopened in that moment
	broken  []string
}

// received is an event.
type received struct {
	eventType string
	routed    bool // it was decided who gets it
}

// delivered is a delivery as its records tell it.
type delivered struct {
	*domain.Delivery
	id, endpoint, event string
	line                *order // that it stands in, nil for none
	place               int    // in that line
	records             []*domain.Record
	undecided           string // an outcome whose decision has not come yet
	due                 time.Time
	asked               time.Time // when a person last asked for a retry
	closed              time.Time // when the last outcome came
	cancelled           bool      // and not reopened since
	succeeded           bool      // at some time
	confirmed           bool      // a 2xx came, be it after the end
	holds               bool      // it was exhausted, and others wait behind it
	manual              bool
	reopened            time.Time // by a person, when nobody waited behind it any more, and not begun again since
	interrupted         int       // attempts
	starting            *domain.AttemptStarted
}

// intent is a request that the ledger allows.
type intent struct {
	delivery *delivered
	signed   *domain.RequestSigned
	keys     []signer // those that were to sign
	marked   bool     // with webhook-replay
	seen     bool     // by the receiver
}

func newWitness() *witness {
	return &witness{endpoints: newEndpoints(), received: map[string]*received{}, deliveries: map[string]*delivered{},
		intents: map[string][]*intent{}, ordered: map[string]*order{}}
}

func (w *witness) breaks(r *domain.Record, format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf("record %d, %s of %s: ", r.Position, r.Fact.RecordType(), r.Stream)+
		fmt.Sprintf(format, args...))
}

// read reads on to the end of the ledger.
func (w *witness) read(records iter.Seq2[*domain.Record, error]) error {
	for r, err := range records {
		if err != nil {
			return err
		}
		w.position, w.last = r.Position, r.ID
		w.record(r)
	}
	return nil
}

// stands says whether a store that was opened anew still has what was read before.
func (w *witness) stands(store ledger.Reader) error {
	if w.position == 0 {
		return nil
	}
	for r, err := range store.ReadAll(context.Background(), w.position-1) {
		if err != nil || r.ID == w.last {
			return err
		}
		return fmt.Errorf("record %d was %s, and is %s", w.position, w.last, r.ID)
	}
	return fmt.Errorf("record %d was read, and is not there any more", w.position)
}

func (w *witness) record(r *domain.Record) {
	if wrong := w.endpoints.record(r); wrong != "" {
		w.breaks(r, "%s", wrong)
	}
	switch f := r.Fact.(type) {
	case *domain.EventReceived:
		if w.received[r.Stream.ID()] != nil {
			w.breaks(r, "it was received before")
		}
		w.received[r.Stream.ID()] = &received{eventType: f.Event}
	case *domain.EventRouted:
		w.routed(r, f)
		for _, m := range f.Matches {
			d := &delivered{Delivery: domain.NewDelivery(), id: m.Delivery, endpoint: m.Endpoint, event: r.Stream.ID()}
			w.deliveries[m.Delivery] = d
			if o := w.ordered[m.Endpoint]; o != nil {
				d.line, d.place, o.queue = o, len(o.queue), append(o.queue, d)
			}
		}
	case *domain.ReplayPageScheduled:
		for _, p := range f.Pairs {
			w.deliveries[p.Delivery] = &delivered{Delivery: domain.NewDelivery(), id: p.Delivery,
				endpoint: p.Endpoint, event: p.Event}
		}
	case *domain.EndpointRegistered:
		if f.Config.Ordered {
			w.ordered[r.Stream.ID()] = &order{waits: f.Config.OnExhausted == "wait"}
		}
	}
	if r.Stream.Category() == domain.CategoryDelivery {
		w.delivery(r)
	}
}

func (w *witness) delivery(r *domain.Record) {
	d := w.deliveries[r.Stream.ID()]
	if d == nil {
		w.breaks(r, "no routing decision and no replay has named it")
		return
	}
	d.records = append(d.records, r)
	if d.undecided != "" {
		switch r.Fact.(type) {
		case *domain.RetryScheduled, *domain.DeliverySucceeded, *domain.DeliveryExhausted, *domain.DeliveryCancelled:
		default:
			w.breaks(r, "%s has no decision", d.undecided)
		}
		d.undecided = ""
	}
	switch f := r.Fact.(type) {
	case *domain.DeliveryScheduled:
		if d.endpoint != f.Endpoint || d.event != f.Event {
			w.breaks(r, "%s for %s was decided on as %s for %s", f.Event, f.Endpoint, d.event, d.endpoint)
		}
	case *domain.AttemptStarted:
		w.started(r, d, f)
	case *domain.RequestSigned:
		w.signed(r, d, f)
	case *domain.ResponseReceived:
		if !f.Late {
			d.undecided = "the response"
		}
		d.confirmed = d.confirmed || f.Taken()
		d.closed = r.RecordedAt
	case *domain.AttemptFailed:
		if !f.Late {
			d.undecided = "the failure"
		}
		d.closed = r.RecordedAt
	case *domain.AttemptInterrupted:
		if !d.Status.Terminal() {
			d.undecided = "the interruption"
		}
		d.interrupted++
		d.closed = r.RecordedAt
	case *domain.RetryScheduled:
		d.due = f.DueAt
	case *domain.RetryRequested:
		d.due, d.manual, d.asked, d.cancelled = time.Time{}, true, r.RecordedAt, false
		if d.released() {
			d.reopened = r.RecordedAt
		}
	case *domain.DeliverySucceeded:
		d.succeeded = true
	case *domain.DeliveryCancelled:
		d.cancelled = true
	case *domain.DeliveryExhausted:
		if want := len(d.Policy.Schedule) + 1; f.Reason == "schedule" && !d.manual && f.Attempts-d.interrupted != want {
			w.breaks(r, "%d attempts, %d of them interrupted, and the schedule has %d", f.Attempts, d.interrupted, want)
		}
		d.holds = d.line != nil && d.line.waits && !d.confirmed
	}
	d.Evolve(r)
}

func (w *witness) started(r *domain.Record, d *delivered, f *domain.AttemptStarted) {
	switch {
	case d.Open != nil:
		w.breaks(r, "attempt %s is open still", d.Open.ID)
	case d.Status.Terminal() || d.cancelled:
		w.breaks(r, "the delivery has ended as %s", d.Status)
	case f.StartedAt.Before(d.due):
		w.breaks(r, "it starts at %s and is due at %s", f.StartedAt, d.due)
	case f.N != d.Attempts+1:
		w.breaks(r, "it is attempt %d after %d", f.N, d.Attempts)
	case d.succeeded && !f.Forced:
		w.breaks(r, "the receiver has confirmed it, and nobody forced it")
	}
	w.mayStart(r, d, f)
	w.inTurn(r, d)
	d.starting, d.reopened = f, time.Time{}
}

func (w *witness) signed(r *domain.Record, d *delivered, f *domain.RequestSigned) {
	if d.starting == nil || d.starting.Attempt != f.Attempt {
		w.breaks(r, "it signs for an attempt that is not the one that begins")
		return
	}
	marked := slices.ContainsFunc(d.starting.Headers, func(h domain.Header) bool {
		return h.Name == domain.HeaderWebhookReplay
	})
	key := d.endpoint + " " + f.Signatures
	w.intents[key] = append(w.intents[key], &intent{delivery: d, signed: f, keys: w.signers(r, d, f),
		marked: marked})
	d.starting = nil
}

// request checks what a receiver got against the intents on the ledger, which were read up to now.
func (w *witness) request(endpoint string, r *request) error {
	var it *intent // one that was not seen yet, and is marked alike, where there is one
	for _, one := range w.intents[endpoint+" "+r.signatures] {
		if it == nil || it.seen || it.marked != (r.replay != "") {
			it = one
		}
	}
	switch {
	case it == nil:
		return fmt.Errorf("a request for %s came to %s without an intent on the ledger", r.id, endpoint)
	case it.delivery.event != r.id:
		return fmt.Errorf("a request for %s came to %s with the intent of %s", r.id, endpoint, it.delivery.event)
	case it.signed.WebhookTimestamp != r.timestamp:
		return fmt.Errorf("the request for %s says %d, its intent %d", r.id, r.timestamp, it.signed.WebhookTimestamp)
	case it.seen:
		return fmt.Errorf("the attempt %s at %s was sent twice", it.signed.Attempt, endpoint)
	case it.marked != (r.replay != ""):
		return fmt.Errorf("the request for %s has the mark %q, its intent says %t", r.id, r.replay, it.marked)
	}
	it.seen = true
	return it.verify(r)
}

// verify checks that each key which was to sign the request has, and no other one.
func (it *intent) verify(r *request) error {
	signatures := strings.Fields(r.signatures)
	if len(signatures) != len(it.keys) {
		return fmt.Errorf("the request for %s has %d signatures, of %d keys", r.id, len(signatures), len(it.keys))
	}
	for i, k := range it.keys {
		if err := domain.Verify([]domain.Key{k.key}, r.id, strconv.FormatInt(r.timestamp, 10), signatures[i],
			[]byte(r.body), r.at); err != nil {
			return fmt.Errorf("the request for %s is not signed with %s: %w", r.id, k.id, err)
		}
	}
	return nil
}

// removed says whether an endpoint is there no more.
func (w *witness) removed(endpoint string) bool { return w.endpoints.now[endpoint].removed }

// open names the deliveries that have no end: nothing was decided that ends them.
func (w *witness) open() []string {
	var ids []string
	for id, d := range w.deliveries {
		if !d.Status.Terminal() && !w.removed(d.endpoint) {
			ids = append(ids, id)
		}
	}
	return ids
}
