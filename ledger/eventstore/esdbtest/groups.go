package esdbtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// groups are the persistent subscriptions of a database. One node runs them, the leader: start reads on from each
// group's checkpoint, stop drops the consumers and forgets what stands above it. Between the two one goroutine follows
// the log and the seconds, and tells the groups.
type groups struct {
	engine *engine
	clock  func() time.Time
	ticks  func() (<-chan time.Time, func())
	faults *Faults

	mu       sync.Mutex
	byKey    map[string]*group
	byStream map[string][]*group // "" are those to $all
	stop     context.CancelFunc  // nil: stopped
	stopped  chan struct{}
}

func newGroups(e *engine, cfg *config) *groups {
	return &groups{engine: e, clock: cfg.clock, ticks: cfg.ticks, faults: cfg.faults,
		byKey: map[string]*group{}, byStream: map[string][]*group{}}
}

// start runs the groups until halt.
func (r *groups) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.stopped = stop, make(chan struct{})
	from := r.engine.tip() // before they read: what is written from now on they are told
	for _, g := range r.byKey {
		g.reset(errNotReady())
	}
	go r.follow(ctx, from, r.stopped)
}

// halt ends what start began.
func (r *groups) halt() {
	r.mu.Lock()
	stop, stopped := r.stop, r.stopped
	r.stop = nil
	r.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	<-stopped
	for _, g := range r.list("") {
		g.reset(errGroupDropped(g))
	}
}

// restart is what the subsystem's restart does.
func (r *groups) restart() {
	r.halt()
	r.start()
}

// follow tells the groups of every event from a position on, and of every tick.
func (r *groups) follow(ctx context.Context, from uint64, stopped chan<- struct{}) {
	defer close(stopped)
	tick, stop := r.ticks()
	defer stop()
	at := from - 1
	for {
		events, more := r.engine.after(at)
		for _, e := range events {
			at = e.position
			for _, g := range r.interested(e) {
				g.appeared(e)
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-more:
		case <-tick:
			for _, g := range r.list("") {
				g.tick()
			}
		case <-ctx.Done():
			return
		}
	}
}

// interested gives the groups that an event may be for.
func (r *groups) interested(e *event) []*group {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.byStream[e.stream], r.byStream[""])
}

// find gives the group of a stream, or of $all if that is "", and of that name; nil: there is none.
func (r *groups) find(stream, name string) *group {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byKey[groupKey(stream, name)]
}

// list gives all groups whose stream has that name, or all there are, by key.
func (r *groups) list(source string) []*group {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*group
	for _, g := range r.byKey {
		if source == "" || g.source() == source {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *group) int { return strings.Compare(a.key, b.key) })
	return out
}

// add makes a group and begins to read; false: there is one already.
func (r *groups) add(g *group) bool {
	g.key = groupKey(g.stream, g.name)
	g.engine, g.clock, g.faults = r.engine, r.clock, r.faults
	g.mu.Lock()
	defer g.mu.Unlock()
	r.mu.Lock()
	_, taken := r.byKey[g.key]
	if !taken {
		r.byKey[g.key] = g
		r.byStream[g.stream] = append(slices.Clone(r.byStream[g.stream]), g)
	}
	r.mu.Unlock()
	if taken {
		return false
	}
	g.begin() // after it was added, so that nothing is written in between
	return true
}

// remove deletes a group; false: there was none.
func (r *groups) remove(stream, name string) bool {
	r.mu.Lock()
	g := r.byKey[groupKey(stream, name)]
	if g != nil {
		delete(r.byKey, g.key)
		r.byStream[stream] = slices.DeleteFunc(slices.Clone(r.byStream[stream]), func(o *group) bool { return o == g })
		if len(r.byStream[stream]) == 0 {
			delete(r.byStream, stream)
		}
	}
	r.mu.Unlock()
	if g == nil {
		return false
	}
	g.remove(errGroupDropped(g))
	return true
}

// groupKey is how a real server names a group in its own streams.
func groupKey(stream, name string) string { return groupSource(stream) + "::" + name }

// groupSource is what a group of a stream, or of $all if that is "", says that it reads.
func groupSource(stream string) string {
	if stream == "" {
		return allStream
	}
	return stream
}

func (g *group) source() string { return groupSource(g.stream) }

// tip is the position that the next event gets.
func (e *engine) tip() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.end
}

func errGroupMissing(stream, name string) *Error {
	stream = groupSource(stream)
	return failure(codes.NotFound, fmt.Sprintf("Subscription group %s on stream %s does not exist.", name, stream),
		"exception", "persistent-subscription-does-not-exist", "stream-name", stream, "group-name", name)
}

func errGroupExists(g *group) *Error {
	return failure(codes.AlreadyExists, fmt.Sprintf("Subscription group %s on stream %s exists.", g.name, g.source()),
		"exception", "persistent-subscription-exists", "stream-name", g.source(), "group-name", g.name)
}

func errGroupFull(g *group) *Error {
	return failure(codes.FailedPrecondition,
		fmt.Sprintf("Maximum subscriptions reached for subscription group %s on stream %s.", g.name, g.source()),
		"exception", "maximum-subscribers-reached", "stream-name", g.source(), "group-name", g.name)
}

func errGroupDropped(g *group) *Error {
	return failure(codes.Canceled, fmt.Sprintf("Subscription group %s on stream %s was dropped.", g.name, g.source()),
		"exception", "persistent-subscription-dropped", "stream-name", g.source(), "group-name", g.name)
}

func errGroupFailed(stream, name, reason string) *Error {
	stream = groupSource(stream)
	return failure(codes.Internal,
		fmt.Sprintf("Subscription group %s on stream %s failed: '%s'", name, stream, reason),
		"exception", "persistent-subscription-failed", "stream-name", stream, "group-name", name, "reason", reason)
}

// errNotReady is what a node says that can't answer now: it follows, and the call needs the leader, or there is none.
func errNotReady() *Error { return failure(codes.Unavailable, "Server Is Not Ready") }
