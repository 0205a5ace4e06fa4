package projections

import (
	"context"
	"database/sql"
	"time"

	"github.com/huandu/go-sqlbuilder"

	"hookledger/domain"
)

// HeldDisabled is why what waits at a disabled endpoint is held, HeldReplay why what a paused replay has scheduled is,
// HeldBehind why what an ordered endpoint has behind an exhausted delivery is; the other reasons are domain.Hold….
const (
	HeldDisabled = "disabled"
	HeldReplay   = "replay_paused"
	HeldBehind   = "behind_exhausted"
)

// Hold says why an endpoint's deliveries are held, and since when. A half-open breaker holds all but its probe. It is
// empty where nothing is held.
func (h *Health) Hold(tenant, endpoint string, now time.Time) (reason string, since time.Time) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	one := h.fold.Health(tenant, endpoint)
	if one == nil {
		return "", time.Time{}
	}
	if one.State == domain.HealthDisabled {
		return HeldDisabled, one.ChangeAt(now).At
	}
	if one.BreakerAt(now) != domain.BreakerClosed {
		return domain.HoldBreakerOpen, one.Breaker.Since
	}
	g := one.Gate(now)
	return g.Hold, g.Since
}

// held are a tenant's endpoints, and its replays, that hold their deliveries back.
type held struct {
	disabled []any                      // all that waits
	gated    []any                      // what is due
	paused   map[string]time.Time       // replays, since when: all that waits
	behind   map[string]domain.Position // endpoints, behind whose delivery at the position all waits
	now      time.Time
}

func (p *Projections) holding(ctx context.Context, tenant string) (held, error) {
	h := held{now: p.cfg.Now(), behind: map[string]domain.Position{}}
	var err error
	if h.paused, err = p.pausedReplays(ctx, tenant); err != nil {
		return h, err
	}
	if r, ok := p.directory.Routing(tenant); ok {
		for _, e := range r.Endpoints {
			if pos, _, ok := p.backlog.Blocked(tenant, e.ID); ok {
				h.behind[e.ID] = pos
			}
			if e.Disabled {
				h.disabled = append(h.disabled, e.ID)
			} else if reason, _ := p.health.Hold(tenant, e.ID, h.now); reason != "" && reason != HeldDisabled {
				h.gated = append(h.gated, e.ID)
			}
		}
	}
	return h, nil
}

// pausedReplays says since when which of a tenant's replays are paused.
func (p *Projections) pausedReplays(ctx context.Context, tenant string) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	err := scanRows(ctx, p.db.r, "SELECT state FROM replays INDEXED BY replays_status WHERE tenant = ? AND status = ?",
		[]any{tenant, string(domain.ReplayIsPaused)}, func(rows *sql.Rows) error {
			var r domain.Replay
			err := scanReplay(rows, &r)
			out[r.ID] = r.UpdatedAt
			return err
		})
	return out, p.db.broken(err)
}

// condition is that a delivery that waits is held.
func (h *held) condition(sb *sqlbuilder.SelectBuilder) string {
	var paused []any
	for id := range h.paused {
		paused = append(paused, id)
	}
	ways := []string{sb.In("endpoint_id", h.disabled...), sb.In("replay", paused...)}
	for endpoint, pos := range h.behind {
		ways = append(ways, sb.And(sb.Equal("endpoint_id", endpoint), "line = 1", sb.GreaterThan("position", int64(pos))))
	}
	return sb.Or(append(ways, sb.And(sb.In("endpoint_id", h.gated...), sb.LessEqualThan("due_at", micros(h.now))))...)
}

func (h *held) none() bool { return len(h.disabled)+len(h.gated)+len(h.paused)+len(h.behind) == 0 }

// hold derives the status of what waits at an endpoint that holds it back: at a disabled one all of it, else what is
// due and would start; and of what a paused replay has scheduled.
func (p *Projections) hold(d *DeliveryRow, paused map[string]time.Time) {
	if d.DueAt.IsZero() {
		return
	}
	now := p.cfg.Now()
	reason, since := p.health.Hold(d.Tenant, d.EndpointID, now)
	if e, ok := p.directory.Endpoint(d.Tenant, d.EndpointID); ok && e.Disabled {
		d.Status, d.Held, d.HeldSince = domain.StatusHeld, HeldDisabled, e.UpdatedAt
		if reason == HeldDisabled {
			d.HeldSince = since
		}
		return
	}
	if since, is := paused[d.Replay]; is {
		d.Status, d.Held, d.HeldSince = domain.StatusHeld, HeldReplay, since
		return
	}
	if d.InLine {
		if pos, since, ok := p.backlog.Blocked(d.Tenant, d.EndpointID); ok && d.Routed > pos {
			d.Status, d.Held, d.HeldSince = domain.StatusHeld, HeldBehind, since
			return
		}
	}
	if reason != "" && reason != HeldDisabled && !d.DueAt.After(now) {
		d.Status, d.Held, d.HeldSince = domain.StatusHeld, reason, since
	}
}
