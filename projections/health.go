package projections

import (
	"log/slog"
	"sync"
	"time"

	"hookledger/domain"
)

// tellWithin is how old a follow-up may be when it is found: after a long time down, or when everything is folded anew,
// nobody is told what happened days ago. What is decided about an endpoint has no such limit.
const tellWithin = 24 * time.Hour

// Health is the health of all endpoints, folded live, with what follows from it and is not done yet. All methods are
// safe for concurrent use.
type Health struct {
	now func() time.Time
	log *slog.Logger

	mu    sync.RWMutex
	fold  *domain.HealthFold // guarded by mu, as all below
	at    checkpoint         // the last record that was folded
	dirty map[*domain.Health]struct{}
	gone  []domain.EndpointKey // removed since the last save
	kept  []keptHealth         // since the last save
	todo  todo
	saved time.Time // the last save
}

func newHealth(c domain.HealthConfig, now func() time.Time, log *slog.Logger) *Health {
	return &Health{now: now, log: log, fold: domain.NewHealthFold(c), dirty: map[*domain.Health]struct{}{},
		todo: newTodo()}
}

// Gate is what an endpoint's health lets through now.
func (h *Health) Gate(tenant, endpoint string, now time.Time) domain.Gate {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.fold.Health(tenant, endpoint).Gate(now)
}

// apply folds one record, and says what is new of it. What was stored may hold more than the rows do, where these
// stopped at a record: none counts twice.
func (h *Health) apply(r *domain.Record) news {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Position <= h.at.position {
		return news{}
	}
	h.todo.answered(r)
	one, follow := h.fold.Apply(r)
	h.at = checkpoint{position: r.Position, record: r.ID, stream: r.Stream, revision: r.Revision,
		at: micros(r.RecordedAt)}
	if one != nil {
		h.changed(one, r)
	}
	for _, f := range follow {
		if f.Decides() || h.now().Sub(f.At) < tellWithin {
			h.todo.add(f, h.log)
		}
	}
	return newsOf(one, r, follow)
}

func (h *Health) changed(one *domain.Health, r *domain.Record) {
	if one.Removed {
		delete(h.dirty, one)
		if _, now := r.Fact.(*domain.EndpointRemoved); now {
			h.gone = append(h.gone, domain.EndpointKey{Tenant: one.Tenant, Endpoint: one.Endpoint})
		}
		h.todo.withdraw(one)
		return
	}
	if !one.Told.Disable {
		h.todo.withdraw(one)
	}
	h.dirty[one] = struct{}{}
	if one.Keep(r) {
		h.kept = append(h.kept, h.keep(one, r))
	}
}

// HealthView is an endpoint's health at a moment.
type HealthView struct {
	State       domain.HealthState
	Breaker     string
	Gate        domain.Gate
	Windows     map[string]domain.HealthWindow
	Failures    int // in a row
	LastCode    string
	LastSuccess time.Time // zero: there was none
	LastFailure time.Time
	InFlight    int
	Since       domain.HealthChange   // that led to the state; without a time it was always healthy
	Blocked     Blocked               // of an ordered endpoint that is not disabled
	Changes     []domain.HealthChange // the last ones, oldest first

	At       time.Time       // the moment
	Position domain.Position // up to which the ledger was folded

	Pending       int       // deliveries that wait; not known of a moment of the past
	OldestPending time.Time // when the oldest was received; zero where none waits
}

func viewOf(one *domain.Health, now time.Time) HealthView {
	return HealthView{State: one.StateAt(now), Breaker: one.BreakerAt(now), Gate: one.Gate(now), Windows: one.Windows(now),
		Failures: one.Failures, LastCode: one.LastCode, LastSuccess: one.LastSuccess.At, LastFailure: one.LastFailure.At,
		InFlight: one.InFlight, Since: one.ChangeAt(now), Changes: one.ChangesAt(now), At: now}
}

// HealthStats counts endpoints.
type HealthStats struct {
	States   map[domain.HealthState]int
	Breakers map[string]int
	Slowed   int // with a bound that 429, 502, 503 or 504 set
	Pending  int // follow-ups that are not done
	Dropped  int // follow-ups that were left out, for there were too many
}

// Stats counts the endpoints by how they do now.
func (h *Health) Stats(now time.Time) HealthStats {
	s := HealthStats{States: map[domain.HealthState]int{}, Breakers: map[string]int{}}
	h.mu.RLock()
	defer h.mu.RUnlock()
	h.fold.Endpoints(func(one *domain.Health) {
		s.States[one.StateAt(now)]++
		s.Breakers[one.BreakerAt(now)]++
		if one.Slowdown.Places > 0 || now.Before(one.Slowdown.Until) {
			s.Slowed++
		}
	})
	s.Pending, s.Dropped = len(h.todo.ids), h.todo.dropped
	return s
}
