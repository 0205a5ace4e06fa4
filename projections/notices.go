package projections

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"hookledger/domain"
)

const (
	// noticeOnce is how often one endpoint has a line of a kind in the log: what comes sooner is counted in the next.
	noticeOnce = time.Minute
	// noticeEvery is how often what was counted is looked through.
	noticeEvery = 10 * time.Second
	// maxNotices bounds what is counted apart; what is over is counted together.
	maxNotices = 10_000
	// maxLines bounds the lines that wait for the log.
	maxLines = 1024
)

// notices are what the log says of records as they are folded: deliveries that are exhausted, endpoints that come to
// fail or recover, and who changed what by the API. A line names ids, and nothing of what is sealed. What was recorded
// before this life began is told by none.
type notices struct {
	log   *slog.Logger
	now   func() time.Time
	since time.Time

	// lines wait for the log, which may stand still: who reads it has stopped, or its disk is slow. The fold that they
	// come from waits for nothing.
	lines chan notice

	mu      sync.Mutex
	counted map[noticeKey]*counted // guarded by mu, as what it holds
	lost    int                    // lines for which there was no room; guarded by mu
}

type notice struct {
	level slog.Level
	says  string
	attrs []slog.Attr
}

// noticeKey is what one line a minute is for.
type noticeKey struct {
	endpoint domain.EndpointKey // empty: of whatever endpoint
	by       string             // the key, where it is one that acts
	says     string
}

type counted struct {
	level slog.Level
	until time.Time // what comes before it is counted
	more  int
	last  []slog.Attr // of the last that was
}

func newNotices(log *slog.Logger, now func() time.Time) *notices {
	return &notices{log: log, now: now, since: now(), lines: make(chan notice, maxLines),
		counted: map[noticeKey]*counted{}}
}

// news is what a record changed in an endpoint's health.
type news struct {
	key       domain.EndpointKey
	was, is   domain.HealthChange // is has no time where neither state nor breaker changed
	exhausted *domain.FollowUp
}

// newsOf reads what the fold of the record has left.
func newsOf(one *domain.Health, r *domain.Record, follow []domain.FollowUp) (out news) {
	if i := slices.IndexFunc(follow, func(f domain.FollowUp) bool { return f.Kind == domain.FollowExhausted }); i >= 0 {
		out.exhausted = &follow[i]
	}
	if one == nil || len(one.Changes) == 0 {
		return out
	}
	last := len(one.Changes) - 1
	is := &one.Changes[last]
	if n := len(is.Because); n == 0 || is.Because[n-1].Record != r.ID {
		return out
	}
	out.key, out.is = domain.EndpointKey{Tenant: one.Tenant, Endpoint: one.Endpoint}, *is
	out.was = domain.HealthChange{State: domain.HealthHealthy, Breaker: domain.BreakerClosed}
	if last > 0 {
		out.was = one.Changes[last-1]
	}
	return out
}

// see says what a record that was just folded is worth. It stands on the path of each record.
func (n *notices) see(r *domain.Record, what news) {
	if r.RecordedAt.Before(n.since) {
		return
	}
	if r.Actor.Kind == domain.ActorKey && r.Stream.Category() != domain.CategoryEvent {
		n.changed(r)
	}
	if what.exhausted != nil {
		f := what.exhausted
		n.say(noticeKey{endpoint: domain.EndpointKey{Tenant: f.Tenant, Endpoint: f.Endpoint},
			says: "a delivery is exhausted: nothing more is sent of it"}, slog.LevelWarn,
			slog.String("delivery", f.Delivery), slog.String("event", f.Event), slog.String("code", f.Code),
			slog.String("record", r.ID.String()))
	}
	if !what.is.At.IsZero() {
		n.health(r, &what)
	}
}

// health says what became of an endpoint.
func (n *notices) health(r *domain.Record, what *news) {
	was, is := &what.was, &what.is
	say := func(level slog.Level, says string) {
		n.say(noticeKey{endpoint: what.key, says: says}, level, slog.String("reason", is.Reason),
			slog.String("record", r.ID.String()))
	}
	switch {
	case is.State == was.State:
	case is.State == domain.HealthDisabled:
		say(slog.LevelWarn, "an endpoint is disabled: its deliveries are held")
	case is.State == domain.HealthFailing:
		say(slog.LevelWarn, "an endpoint is failing")
	case was.State == domain.HealthDisabled:
		say(slog.LevelInfo, "an endpoint is enabled")
	case was.State == domain.HealthFailing:
		say(slog.LevelInfo, "an endpoint has recovered")
	}
	switch {
	case is.Breaker == was.Breaker:
	case is.Breaker == domain.BreakerOpen:
		say(slog.LevelWarn, "an endpoint's breaker is open: what is due there is held")
	case is.State != domain.HealthDisabled:
		say(slog.LevelInfo, "an endpoint's breaker is closed")
	}
}

// changed says who changed what. Of deliveries, which somebody may retry by the thousand, it counts.
func (n *notices) changed(r *domain.Record) {
	attrs := []slog.Attr{slog.String("tenant", r.Tenant), slog.String("type", r.Fact.RecordType()),
		slog.String("stream", string(r.Stream)), slog.Int64("revision", int64(r.Revision)),
		slog.String("record", r.ID.String())}
	switch r.Fact.(type) {
	case *domain.RetryRequested:
		n.say(noticeKey{by: r.Actor.ID, says: "a key asked for a retry"}, slog.LevelInfo, attrs...)
		return
	case *domain.DeliveryCancelled:
		n.say(noticeKey{by: r.Actor.ID, says: "a key cancelled a delivery"}, slog.LevelInfo, attrs...)
		return
	case *domain.DeliveryScheduled: // by whoever does one of these first
		return
	}
	key := noticeKey{by: r.Actor.ID, says: "a key changed something"}
	n.enqueue(notice{slog.LevelInfo, key.says, append(key.ids(), attrs...)})
}

// say writes a line, or counts it where there was one of its kind just now.
func (n *notices) say(key noticeKey, level slog.Level, attrs ...slog.Attr) {
	now := n.now()
	n.mu.Lock()
	c := n.counted[key]
	attrs = append(key.ids(), attrs...)
	if c == nil && len(n.counted) >= maxNotices {
		key = noticeKey{says: key.says}
		c = n.counted[key]
	}
	first := c == nil
	if first {
		n.counted[key] = &counted{level: level, until: now.Add(noticeOnce)}
	} else {
		c.more, c.last = c.more+1, attrs
	}
	n.mu.Unlock()
	if first {
		n.enqueue(notice{level, key.says, attrs})
	}
}

func (n *notices) enqueue(l notice) {
	select {
	case n.lines <- l:
	default:
		n.mu.Lock()
		defer n.mu.Unlock()
		n.lost++
	}
}

// flush writes the lines that wait, and how many there was no room for.
func (n *notices) flush() {
	for len(n.lines) > 0 { // nobody else takes them meanwhile
		n.write(<-n.lines)
	}
	n.mu.Lock()
	lost := n.lost
	n.lost = 0
	n.mu.Unlock()
	if lost > 0 {
		n.write(notice{slog.LevelWarn, "lines are missing here: the log was not written as quickly as they came",
			[]slog.Attr{slog.Int("times", lost)}})
	}
}

// sweep writes what was counted, and forgets what is quiet. all: at the end, whatever the time.
func (n *notices) sweep(all bool) {
	now := n.now()
	due := map[noticeKey]counted{}
	n.mu.Lock()
	for key, c := range n.counted {
		switch {
		case !all && now.Before(c.until):
		case c.more == 0:
			delete(n.counted, key)
		default:
			due[key] = *c
			c.more, c.until = 0, now.Add(noticeOnce)
		}
	}
	n.mu.Unlock()
	for key, c := range due {
		n.write(notice{c.level, key.says, append(c.last, slog.Int("times", c.more))})
	}
}

// ids are what a line begins with.
func (k noticeKey) ids() []slog.Attr {
	var ids []slog.Attr
	if k.endpoint.Endpoint != "" {
		ids = append(ids, slog.String("tenant", k.endpoint.Tenant), slog.String("endpoint", k.endpoint.Endpoint))
	}
	if k.by != "" {
		ids = append(ids, slog.String("by", k.by))
	}
	return ids
}

func (n *notices) write(l notice) { n.log.LogAttrs(context.Background(), l.level, l.says, l.attrs...) }

// run writes lines, and sweeps, until ctx ends.
func (n *notices) run(ctx context.Context) error {
	tick := time.NewTicker(noticeEvery)
	defer tick.Stop()
	for {
		select {
		case l := <-n.lines:
			n.write(l)
		case <-tick.C:
			n.flush()
			n.sweep(false)
		case <-ctx.Done():
			n.flush()
			n.sweep(true)
			return ctx.Err()
		}
	}
}
