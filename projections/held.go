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

// holds are what holds an endpoint's deliveries back at a moment: of now, or as computed of a moment of the past.
type holds struct {
	disabled bool
	since    time.Time // of that
	blocked  Blocked
	gate     string // domain.Hold…; empty: nothing
	gatedAt  time.Time
}

// apply derives the status of what waits there, by whatever list shows it: at a disabled endpoint all of it is held, so
// is what a paused replay has scheduled, since paused, and what stands behind an exhausted one; else what is due and
// would start.
func (h *holds) apply(d *DeliveryRow, paused, now time.Time) {
	hold := func(reason string, since time.Time) {
		d.Status, d.Held, d.HeldSince = domain.StatusHeld, reason, since
	}
	switch {
	case d.DueAt.IsZero():
	case h.disabled:
		hold(HeldDisabled, h.since)
	case !paused.IsZero():
		hold(HeldReplay, paused)
	case d.InLine && h.blocked.by(d):
		hold(HeldBehind, h.blocked.Since)
		d.HeldBehind = h.blocked.Delivery
	case h.gate != "" && !d.DueAt.After(now):
		hold(h.gate, h.gatedAt)
	}
}

// Hold says why an endpoint's deliveries are held, and since when. A half-open breaker holds all but its probe. It is
// empty where nothing is held.
func (h *Health) Hold(tenant, endpoint string, now time.Time) (reason string, since time.Time) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return holdOf(h.fold.Health(tenant, endpoint), now)
}

func holdOf(one *domain.Health, now time.Time) (reason string, since time.Time) {
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

// holding says what holds a tenant's deliveries back, these replays that are paused among it.
func (p *Projections) holding(tenant string, paused map[string]time.Time) held {
	h := held{now: p.cfg.Now(), behind: map[string]domain.Position{}, paused: paused}
	if r, ok := p.directory.Routing(tenant); ok {
		for _, e := range r.Endpoints {
			if e.Config.Waits() {
				if b, ok := p.backlog.Blocked(tenant, e.ID); ok {
					h.behind[e.ID] = b.Position
				}
			}
			if e.Disabled {
				h.disabled = append(h.disabled, e.ID)
			} else if reason, _ := p.health.Hold(tenant, e.ID, h.now); reason != "" && reason != HeldDisabled {
				h.gated = append(h.gated, e.ID)
			}
		}
	}
	return h
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

// allPausedReplays says so of all tenants, by tenant, in one query: it looks at the replays that have not ended.
func (p *Projections) allPausedReplays(ctx context.Context) (map[string]map[string]time.Time, error) {
	out := map[string]map[string]time.Time{}
	err := scanRows(ctx, p.db.r, "SELECT state FROM replays INDEXED BY replays_open WHERE ended = 0 AND status = ?",
		[]any{string(domain.ReplayIsPaused)}, func(rows *sql.Rows) error {
			var r domain.Replay
			err := scanReplay(rows, &r)
			if out[r.Tenant] == nil {
				out[r.Tenant] = map[string]time.Time{}
			}
			out[r.Tenant][r.ID] = r.UpdatedAt
			return err
		})
	return out, p.db.broken(err)
}

// condition is that a delivery that waits is held.
func (h *held) condition(sb *sqlbuilder.SelectBuilder) string {
	ways := []string{sb.In("endpoint_id", h.disabled...), sb.In("replay", h.pausedIDs()...)}
	for endpoint, pos := range h.behind {
		ways = append(ways, sb.And(sb.Equal("endpoint_id", endpoint), "line = 1", sb.GreaterThan("position", int64(pos))))
	}
	return sb.Or(append(ways, sb.And(sb.In("endpoint_id", h.gated...), sb.LessEqualThan("due_at", micros(h.now))))...)
}

// pausedIDs are the replays, as arguments of a query.
func (h *held) pausedIDs() []any {
	var ids []any
	for id := range h.paused {
		ids = append(ids, id)
	}
	return ids
}

func (h *held) none() bool { return len(h.disabled)+len(h.gated)+len(h.paused)+len(h.behind) == 0 }

// hold derives the status that a row has now.
func (p *Projections) hold(d *DeliveryRow, paused map[string]time.Time) {
	if d.DueAt.IsZero() {
		return
	}
	var h holds
	now := p.cfg.Now()
	reason, since := p.health.Hold(d.Tenant, d.EndpointID, now)
	if reason != HeldDisabled { // the configuration says that
		h.gate, h.gatedAt = reason, since
	}
	if e, ok := p.directory.Endpoint(d.Tenant, d.EndpointID); ok && e.Disabled {
		h.disabled, h.since = true, e.UpdatedAt
		if reason == HeldDisabled {
			h.since = since
		}
	}
	if d.InLine {
		h.blocked, _ = p.backlog.Blocked(d.Tenant, d.EndpointID)
	}
	h.apply(d, paused[d.Replay], now)
}
