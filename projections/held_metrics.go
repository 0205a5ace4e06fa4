package projections

import (
	"context"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
)

var deliveriesHeld = prometheus.NewDesc("hookledger_deliveries_held",
	"Waiting deliveries that are held, by why: those that have the status held.", []string{"reason"}, nil)

// heldReasons are why a delivery may be held; the first one that holds it counts.
var heldReasons = []string{HeldDisabled, HeldReplay, HeldBehind, domain.HoldBreakerOpen, domain.HoldSlowedDown}

// countHeld counts the deliveries of all tenants that are held, by why, as lists show them. It looks only at endpoints
// and replays that hold something back, in indexes that end in what is asked for: about 50 ms for a million.
func (p *Projections) countHeld(ctx context.Context) (map[string]int, error) {
	out := map[string]int{}
	paused, err := p.allPausedReplays(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the replays that are paused: %w", err)
	}
	for _, t := range p.directory.Tenants() {
		h := p.holding(t.Name, paused[t.Name])
		if h.none() {
			continue
		}
		if err := p.countHeldOf(ctx, t.Name, &h, out); err != nil {
			return nil, fmt.Errorf("count what %s has held: %w", t.Name, p.db.broken(err))
		}
	}
	return out, nil
}

func (p *Projections) countHeldOf(ctx context.Context, tenant string, h *held, out map[string]int) error {
	count := func(reason, from string, args ...any) error {
		var n int
		err := p.db.r.QueryRowContext(ctx, "SELECT count(*) FROM deliveries INDEXED BY "+from, args...).Scan(&n)
		out[reason] += n
		return err
	}
	paused := h.pausedIDs()
	const due = "deliveries_due WHERE tenant = ? AND endpoint_id = ? AND due_at > 0"
	unpaused := " AND replay NOT IN (" + marks(len(paused)) + ")"
	for _, endpoint := range h.disabled {
		if err := count(HeldDisabled, due, tenant, endpoint); err != nil {
			return err
		}
	}
	if len(paused) > 0 {
		err := count(HeldReplay, "deliveries_replay_status WHERE tenant = ? AND replay <> '' AND status <> 'succeeded' "+
			"AND replay IN ("+marks(len(paused))+") AND status IN ('pending', 'retrying') AND endpoint_id NOT IN ("+
			marks(len(h.disabled))+")", append(append([]any{tenant}, paused...), h.disabled...)...)
		if err != nil {
			return err
		}
	}
	isDisabled := map[any]bool{}
	for _, endpoint := range h.disabled {
		isDisabled[endpoint] = true
	}
	for endpoint, pos := range h.behind {
		if isDisabled[endpoint] {
			continue
		}
		if err := count(HeldBehind, "deliveries_line WHERE tenant = ? AND endpoint_id = ? AND replay = '' AND line = 1 "+
			"AND position > ? AND due_at > 0", tenant, endpoint, int64(pos)); err != nil {
			return err
		}
	}
	for _, endpoint := range h.gated {
		reason, _ := p.health.Hold(tenant, endpoint.(string), h.now)
		if reason == "" || reason == HeldDisabled {
			continue // since a moment ago
		}
		where, args := due+" AND due_at <= ?"+unpaused, append([]any{tenant, endpoint, micros(h.now)}, paused...)
		if pos, blocked := h.behind[endpoint.(string)]; blocked {
			where, args = where+" AND NOT (line = 1 AND position > ?)", append(args, int64(pos))
		}
		if err := count(reason, where, args...); err != nil {
			return err
		}
	}
	return nil
}

// marks are the places of so many arguments of a query.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// held leaves out what can't be counted in time, as waiting does.
func (c collector) held(ctx context.Context, ch chan<- prometheus.Metric) {
	n, err := c.p.countHeld(ctx)
	if err != nil {
		c.p.cfg.Logger.Warn("what is held could not be counted for the metrics", "error", err)
		return
	}
	for _, reason := range heldReasons {
		ch <- prometheus.MustNewConstMetric(deliveriesHeld, prometheus.GaugeValue, float64(n[reason]), reason)
	}
}
