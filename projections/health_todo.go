package projections

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// maxPending bounds the follow-ups in memory that nobody has done yet.
const maxPending = 100_000

// todo is what follows from what was folded and is not done yet, oldest first.
type todo struct {
	list    []*followUp // those that are over are taken off when they come first, or are most
	fresh   []*followUp // those that were not given to anybody in this life
	ids     map[ulid.ULID]*followUp
	decides map[domain.EndpointKey]*followUp // those that disable
	dropped int
	added   chan struct{} // closed and made anew when there is more
}

type followUp struct {
	domain.FollowUp
	id   ulid.ULID
	over bool
}

func newTodo() todo {
	return todo{ids: map[ulid.ULID]*followUp{}, decides: map[domain.EndpointKey]*followUp{}, added: make(chan struct{})}
}

func (t *todo) add(f domain.FollowUp, log *slog.Logger) {
	id := f.ID()
	if t.ids[id] != nil {
		return
	}
	if len(t.ids) >= maxPending && !f.Decides() {
		if t.dropped++; t.dropped%10_000 == 1 {
			log.Error("more follows from deliveries than is told: it is left out", "kind", f.Kind, "pending", len(t.ids),
				"left_out", t.dropped)
		}
		return
	}
	e := &followUp{FollowUp: f, id: id}
	t.ids[id] = e
	t.list, t.fresh = append(t.list, e), append(t.fresh, e)
	if f.Decides() {
		t.decides[domain.EndpointKey{Tenant: f.Tenant, Endpoint: f.Endpoint}] = e
	}
	close(t.added)
	t.added = make(chan struct{})
}

func (t *todo) remove(e *followUp) {
	if e == nil || e.over {
		return
	}
	e.over = true
	delete(t.ids, e.id)
	if e.Decides() {
		delete(t.decides, domain.EndpointKey{Tenant: e.Tenant, Endpoint: e.Endpoint})
	}
	for len(t.list) > 0 && t.list[0].over {
		t.list[0] = nil
		t.list = t.list[1:]
	}
	// Behind one that is not over for long, those that are would stay for as long.
	if len(t.list) > 2*len(t.ids)+1000 {
		t.list = slices.DeleteFunc(t.list, func(e *followUp) bool { return e.over })
		t.fresh = slices.DeleteFunc(t.fresh, func(e *followUp) bool { return e.over })
	}
}

// withdraw takes back that the endpoint is to be disabled: it was, or it was enabled, or it succeeded since.
func (t *todo) withdraw(one *domain.Health) {
	if len(t.decides) > 0 {
		t.remove(t.decides[domain.EndpointKey{Tenant: one.Tenant, Endpoint: one.Endpoint}])
	}
}

// answered takes away what the record says is done: the event that tells it stands on the ledger.
func (t *todo) answered(r *domain.Record) {
	if len(t.ids) == 0 || r.Actor != domain.FollowUpActor {
		return
	}
	if _, ok := r.Fact.(*domain.EventReceived); !ok {
		return
	}
	id := r.Stream.ID()
	if len(id) != len(domain.PrefixEvent)+ulid.EncodedSize {
		return
	}
	if u, err := ulid.ParseStrict(id[len(domain.PrefixEvent):]); err == nil {
		t.remove(t.ids[u])
	}
}

// pending are those that are not over.
func (t *todo) pending() []domain.FollowUp {
	out := make([]domain.FollowUp, 0, len(t.ids))
	for _, e := range t.list {
		if !e.over {
			out = append(out, e.FollowUp)
		}
	}
	return out
}

// next gives the oldest that nobody was given yet, nil where there is none.
func (t *todo) next() *followUp {
	for len(t.fresh) > 0 {
		e := t.fresh[0]
		t.fresh[0] = nil
		t.fresh = t.fresh[1:]
		if !e.over {
			return e
		}
	}
	return nil
}

// Next gives the oldest follow-up that was not given yet, and waits for one. What was given and is not done when the
// node ends is given again in its next life.
func (h *Health) Next(ctx context.Context) (domain.FollowUp, error) {
	for {
		h.mu.Lock()
		next, added := h.todo.next(), h.todo.added
		h.mu.Unlock()
		if next != nil {
			return next.FollowUp, nil
		}
		select {
		case <-added:
		case <-ctx.Done():
			return domain.FollowUp{}, ctx.Err()
		}
	}
}

// Waiting counts the follow-ups that are not done, and says when the oldest one's evidence was recorded.
func (h *Health) Waiting() (n int, oldest time.Time) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if len(h.todo.list) > 0 {
		oldest = h.todo.list[0].At
	}
	return len(h.todo.ids), oldest
}

// Done says that a follow-up was done, or that there is nothing to do about it.
func (h *Health) Done(f domain.FollowUp) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.todo.remove(h.todo.ids[f.ID()])
}
