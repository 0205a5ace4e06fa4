package followups

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ingest"
)

// tell posts the event that says what happened, where somebody had asked for it.
func (r *Runner) tell(ctx context.Context, f *domain.FollowUp) (string, error) {
	asked, err := r.asked(ctx, f)
	if err != nil || !asked {
		return resultNobody, err
	}
	about, err := r.event(ctx, f)
	if err != nil {
		return "", err
	}
	if about.own {
		return resultOwn, nil
	}
	data, err := f.OperationalData()
	if f.Kind == domain.FollowExhausted {
		data, err = r.exhausted(ctx, f, about.eventType)
	}
	if err != nil {
		return "", err
	}
	return r.post(ctx, ingest.Post{Tenant: f.Tenant, ID: domain.NewID(domain.PrefixEvent, f.ID()), Event: f.Kind,
		Timestamp: &f.At, Data: data})
}

// asked says whether an endpoint subscribes to it that did so when it happened. So who does not ask for such events has
// none on the ledger, and who asks for them today is not told, when all is folded anew, what happened last year.
func (r *Runner) asked(ctx context.Context, f *domain.FollowUp) (bool, error) {
	routing, ok := r.cfg.Directory.Routing(f.Tenant)
	if !ok {
		return false, nil
	}
	for _, e := range routing.Endpoints {
		if !domain.MatchAny(e.Config.EventTypes, f.Kind) {
			continue
		}
		if asked, err := r.askedThen(ctx, e, f); err != nil || asked {
			return asked, err
		}
	}
	return false, nil
}

func (r *Runner) askedThen(ctx context.Context, e *domain.Endpoint, f *domain.FollowUp) (bool, error) {
	at, known := r.since.get(e.ConfigRecord)
	if known && at <= f.Position {
		return true, nil
	}
	then := domain.Endpoint{}
	for rec, err := range r.cfg.Store.ReadStream(ctx, domain.EndpointStream(e.Tenant, e.ID), 0) {
		if err != nil {
			return false, fmt.Errorf("read endpoint %s: %w", e.ID, err)
		}
		if rec.ID == e.ConfigRecord {
			r.since.put(rec.ID, rec.Position)
		}
		if rec.Position <= f.Position {
			then.Evolve(rec)
		}
	}
	return then.Exists() && domain.MatchAny(then.Config.EventTypes, f.Kind), nil
}

// positions remembers where configurations stand on the ledger.
type positions struct {
	mu sync.Mutex // guards at
	at map[ulid.ULID]domain.Position
}

const positionsKept = 10_000

func (p *positions) get(record ulid.ULID) (domain.Position, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.at[record]
	return at, ok
}

func (p *positions) put(record ulid.ULID, at domain.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil || len(p.at) >= positionsKept {
		p.at = map[ulid.ULID]domain.Position{}
	}
	p.at[record] = at
}

// subject is the event whose delivery the evidence is about.
type subject struct {
	eventType string
	own       bool // we posted it
}

func (r *Runner) event(ctx context.Context, f *domain.FollowUp) (subject, error) {
	if f.Event == "" {
		return subject{}, nil // it is about no delivery
	}
	for rec, err := range r.cfg.Store.ReadStream(ctx, domain.EventStream(f.Tenant, f.Event), 0) {
		if err != nil {
			return subject{}, fmt.Errorf("read event %s: %w", f.Event, err)
		}
		if received, ok := rec.Fact.(*domain.EventReceived); ok {
			return subject{eventType: received.Event, own: rec.Actor == domain.FollowUpActor}, nil
		}
		break
	}
	return subject{}, fmt.Errorf("the event %s of delivery %s is not on the ledger", f.Event, f.Delivery)
}

// exhausted is what delivery.exhausted says.
func (r *Runner) exhausted(ctx context.Context, f *domain.FollowUp, eventType string) (json.RawMessage, error) {
	d, err := r.readDelivery(ctx, f)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		DeliveryID string `json:"deliveryId"`
		EndpointID string `json:"endpointId"`
		EventID    string `json:"eventId"`
		Event      string `json:"event"`
		Attempts   int    `json:"attempts"`
		Reason     string `json:"reason"`
		Error      string `json:"error,omitempty"`
		RecordID   string `json:"recordId"`
	}{f.Delivery, d.endpoint, f.Event, eventType, d.attempts, d.reason, d.failure, f.Evidence.String()})
}
