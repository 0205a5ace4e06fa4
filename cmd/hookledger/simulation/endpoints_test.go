package simulation

import (
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// endpoints is what the ledger says of the endpoints, and since when: a fold of the witness's own, which asks neither
// the product's routing nor its endpoints.
type endpoints struct {
	asked   map[string]asked // what people asked for with a key of theirs, by its fingerprint
	now     map[string]standing
	changes []change
	ids     map[ulid.ULID]int // of the records in changes
}

// asked is the key that somebody gave an endpoint, and how long the one that it replaced was to sign on.
type asked struct {
	key     domain.Key // verifies
	overlap time.Duration
}

// change is a record that changes the tenant's configuration.
type change struct {
	at       time.Time
	endpoint string // empty: none
	standing standing
}

// standing is an endpoint between two changes. It is never changed in place.
type standing struct {
	types             []string
	disabled, removed bool
	since             time.Time // it was last disabled
	steps             int       // of the retry schedule
	fingerprint       string    // of the key in force
	keys              []signer  // that one first
}

// signer is a key that signs an endpoint's requests.
type signer struct {
	id    string
	key   domain.Key
	until time.Time // zero: it is in force
}

func newEndpoints() endpoints {
	return endpoints{asked: map[string]asked{}, now: map[string]standing{}, ids: map[ulid.ULID]int{}}
}

// record folds a record in, and says what is wrong with it.
func (e *endpoints) record(r *domain.Record) (wrong string) {
	id := ""
	switch r.Stream.Category() {
	case domain.CategoryTenant:
	case domain.CategoryEndpoint:
		id = r.Stream.ID()
	default:
		return ""
	}
	s := e.now[id]
	switch f := r.Fact.(type) {
	case *domain.EndpointRegistered:
		s.types, s.steps, s.fingerprint = f.Config.EventTypes, len(f.Config.RetrySchedule), f.Config.Signing.Fingerprint
		s.keys, wrong = e.signs(nil, &f.Config.Signing, r.RecordedAt)
	case *domain.EndpointReconfigured:
		s.types, s.steps = f.Config.EventTypes, len(f.Config.RetrySchedule)
		if f.Config.Signing.KeyID != s.keys[0].id {
			wrong = "it changes the signing key by the way"
		}
	case *domain.EndpointSecretRotated:
		s.fingerprint = f.Signing.Fingerprint
		s.keys, wrong = e.signs(s.keys, &f.Signing, r.RecordedAt)
	case *domain.EndpointSecretRetired:
		for _, k := range s.signing(r.RecordedAt) {
			if !s.removed && slices.Contains(f.Keys, k.id) {
				wrong = "it destroys a key that signs"
			}
		}
	case *domain.EndpointDisabled:
		s.disabled, s.since = true, r.RecordedAt
	case *domain.EndpointEnabled:
		s.disabled = false
	case *domain.EndpointRemoved:
		s.removed = true
	}
	e.now[id] = s
	e.ids[r.ID] = len(e.changes)
	e.changes = append(e.changes, change{at: r.RecordedAt, endpoint: id, standing: s})
	return wrong
}

// signs puts a key before those that sign already, as somebody asked for it: the one in force signs on for the overlap,
// and with an overlap of 0 none does.
func (e *endpoints) signs(before []signer, s *domain.Signing, at time.Time) (keys []signer, wrong string) {
	asked, ok := e.asked[s.Fingerprint]
	if !ok {
		wrong = "nobody gave the key " + s.Fingerprint
	}
	keys = []signer{{id: s.KeyID, key: asked.key}}
	for _, old := range before {
		end := at.Add(asked.overlap)
		if old.until.IsZero() || asked.overlap == 0 && old.until.After(at) {
			old.until = end
		}
		if old.until.After(at) {
			keys = append(keys, old)
		}
	}
	return keys, wrong
}

// signing are the keys that sign at a time.
func (s standing) signing(at time.Time) []signer {
	var out []signer
	for _, k := range s.keys {
		if k.until.IsZero() || k.until.After(at) {
			out = append(out, k)
		}
	}
	return out
}

// during are the standings that an endpoint had at a time: what was recorded before it binds, of what was recorded at
// that moment or later nobody knows which came first.
func (e *endpoints) during(endpoint string, at time.Time) []standing {
	out := []standing{{}} // before it was registered
	for _, c := range e.changes {
		switch {
		case c.endpoint != endpoint:
		case c.at.Before(at):
			out = []standing{c.standing}
		default:
			out = append(out, c.standing)
		}
	}
	return out
}

// takers are the endpoints that subscribe to a type as of a change: those that are to get it, and those that would if
// they were not disabled.
func (e *endpoints) takers(asOf int, eventType string) (get, miss []string) {
	then := map[string]standing{}
	for _, c := range e.changes[:asOf+1] {
		then[c.endpoint] = c.standing
	}
	for id, s := range then {
		switch {
		case s.removed || !slices.ContainsFunc(s.types, func(p string) bool { return takes(p, eventType) }):
		case s.disabled:
			miss = append(miss, id)
		default:
			get = append(get, id)
		}
	}
	slices.Sort(get)
	slices.Sort(miss)
	return get, miss
}

// takes says whether a pattern of a simulated endpoint takes a type; none of them takes all types.
func takes(pattern, eventType string) bool {
	prefix, below := strings.CutSuffix(pattern, "*")
	return pattern == eventType || below && strings.HasPrefix(eventType, prefix)
}

// settled is the last change before a time.
func (e *endpoints) settled(at time.Time) int {
	last := -1
	for i, c := range e.changes {
		if c.at.Before(at) {
			last = i
		}
	}
	return last
}

// routed holds a routing decision against the endpoints: it names a configuration that was in force when the event was
// received, and by that one everybody who subscribes gets the event and nobody else does.
func (w *witness) routed(r *domain.Record, f *domain.EventRouted) {
	event := w.received[r.Stream.ID()]
	if event == nil || event.routed {
		w.breaks(r, "it follows no event, or a second time")
		return
	}
	event.routed = true
	asOf, known := w.endpoints.ids[f.RoutedAsOf]
	if settled := w.endpoints.settled(r.RecordedAt); !known || asOf < settled {
		w.breaks(r, "it is decided as of change %d (%t), when change %d was in force", asOf, known, settled)
		return
	}
	get, miss := w.endpoints.takers(asOf, event.eventType)
	var matched, left []string
	for _, m := range f.Matches {
		matched = append(matched, m.Endpoint)
	}
	for _, l := range f.LeftOut {
		left = append(left, l.Endpoint)
	}
	slices.Sort(matched)
	slices.Sort(left)
	if !slices.Equal(matched, get) || !slices.Equal(left, miss) {
		w.breaks(r, "%s goes to %v and leaves out %v; %v subscribe to it, and %v are disabled", event.eventType, matched,
			left, get, miss)
	}
}

// mayStart checks that the endpoint of an attempt which starts is there and enabled.
func (w *witness) mayStart(r *domain.Record, d *delivered, f *domain.AttemptStarted) {
	standings := w.endpoints.during(d.endpoint, f.StartedAt)
	for _, s := range standings {
		if !s.disabled && !s.removed && len(s.types) > 0 {
			return
		}
	}
	last := standings[len(standings)-1]
	w.breaks(r, "its endpoint %s is disabled (%t) or removed (%t)%s", d.endpoint, last.disabled, last.removed, d.story())
}

// signers are the keys that were to sign what f says was signed, where it names just those.
func (w *witness) signers(r *domain.Record, d *delivered, f *domain.RequestSigned) []signer {
	for _, s := range w.endpoints.during(d.endpoint, d.starting.StartedAt) {
		keys := s.signing(d.starting.StartedAt)
		if slices.EqualFunc(keys, f.KeyIDs, func(k signer, id string) bool { return k.id == id }) {
			return keys
		}
	}
	w.breaks(r, "the keys %v sign; those of %s are %+v", f.KeyIDs, d.endpoint, w.endpoints.now[d.endpoint].keys)
	return nil
}
