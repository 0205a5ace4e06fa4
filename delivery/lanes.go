package delivery

import (
	"container/heap"
	"time"

	"hookledger/domain"
)

const (
	// greed bounds an endpoint's attempts under way to this many times the places that are free: one endpoint alone
	// comes to three quarters of the window, and however many crowd in, the next one finds a place. So it is with its
	// late ones, in the share of those.
	greed = 3
	// leastSweep is how many lanes there are, at least, when those of removed endpoints are looked for.
	leastSweep = 1024
	// maxPark bounds how long a lane rests for its rate, its gate or its host, so that a change is seen soon.
	maxPark = time.Second
)

// place is where a lane waits.
type place uint8

const (
	placeIdle   place = iota // nothing due
	placeRound               // for its turn
	placeOwn                 // for the end of an attempt at its endpoint
	placeSick                // for the end of an attempt of any sick lane
	placeReplay              // for the end of an attempt of any replay
	placeHost                // for the end of an attempt at its host
	placeLate                // for the end of an attempt of a late delivery, any or its own, or for one that is not late
	placeTimed               // for its rate or its gate
)

// lane is one endpoint's place in the round, or that of what a replay sends there.
type lane struct {
	key      domain.EndpointKey
	site     *site
	tenant   *tenantRound
	place    place
	inFlight int
	late     int                // of those in flight, counted as in lanes.lateInFlight
	sick     bool               // its last attempt timed out
	allow    int                // attempts in flight beyond the first ones, see allowance
	since    time.Time          // an attempt of it ended last, or the first of those in flight began
	wake     time.Time          // while in placeTimed
	state    domain.HealthState // of the endpoint, when it was asked last

	inSick, inLate bool // in lanes.sickWaiting, lanes.lateWaiting
}

func (l *lane) isReplay() bool { return l.key.Replay != "" }

// tenantRound holds a tenant's lanes that wait for their turn.
type tenantRound struct {
	lanes   queue[*lane]
	queued  bool // in lanes.tenants
	members int  // lanes that exist
}

// lanes decides whose turn it is: tenants in a round, then the endpoints of each in a round. It is guarded by its
// owner's mutex and never blocks. A lane that can't have its turn is parked where what it waits for wakes it, so that a
// turn costs the same however many wait.
type lanes struct {
	window         int
	perEndpoint    int
	endpoints      Endpoints
	backlog        Backlog
	gates          Gates
	hostLimit      func(tenant string) int
	inFlight       int
	lateInFlight   int // deliveries that were late when they were taken, replays apart
	sickInFlight   int // of the lanes that are sick
	replayInFlight int // of replays
	all            map[domain.EndpointKey]*lane
	sweepAt        int                          // lanes
	sites          map[domain.EndpointKey]*site // by the key without a replay
	hosts          map[hostKey]*host
	crowded        map[*host]struct{} // at which lanes wait
	crowdedLooked  time.Time          // when it was looked last whether they still should
	byTenant       map[string]*tenantRound
	tenants        queue[*tenantRound]
	sickWaiting    queue[*lane] // each lane once; may hold some that left placeSick since
	replayWaiting  queue[*lane] // in placeReplay
	lateWaiting    queue[*lane] // each lane once; may hold some that left placeLate since
	ease           ease
	timed          timedLanes
}

func newLanes(cfg *Config) *lanes {
	return &lanes{window: cfg.Window, perEndpoint: cfg.MaxInFlightPerEndpoint, endpoints: cfg.Endpoints,
		backlog: cfg.Backlog, gates: cfg.Gates, hostLimit: cfg.HostLimit, ease: newEase(cfg.Window, cfg.Strained),
		all: map[domain.EndpointKey]*lane{}, sweepAt: leastSweep, sites: map[domain.EndpointKey]*site{},
		byTenant: map[string]*tenantRound{}, hosts: map[hostKey]*host{}, crowded: map[*host]struct{}{}}
}

// activate puts an endpoint into the round.
func (s *lanes) activate(key domain.EndpointKey) {
	l := s.all[key]
	if l == nil {
		if len(s.all) >= s.sweepAt {
			s.sweep()
		}
		t := s.byTenant[key.Tenant]
		if t == nil {
			t = &tenantRound{}
			s.byTenant[key.Tenant] = t
		}
		t.members++
		l = &lane{key: key, tenant: t}
		s.all[key] = l
		s.join(l)
	}
	if l.place == placeIdle || l.place == placeLate {
		s.enter(l)
	}
}

func (s *lanes) enter(l *lane) {
	l.place = placeRound
	l.tenant.lanes.push(l)
	if !l.tenant.queued {
		l.tenant.queued = true
		s.tenants.push(l.tenant)
	}
}

// next takes the delivery whose turn it is. Without one it answers nil, and when a lane's rest is over, zero for never.
func (s *lanes) next(now time.Time) (*item, time.Time) {
	for len(s.timed) > 0 && !s.timed[0].wake.After(now) {
		l, _ := heap.Pop(&s.timed).(*lane)
		s.enter(l)
	}
	s.lookAtCrowded(now)
	for s.inFlight < s.window && (s.tenants.len() > 0 || s.rouse()) {
		t := s.tenants.front()
		l := t.lanes.pop()
		due, ok := s.admit(l, now)
		if ok {
			l.place = placeRound
			t.lanes.push(l)
		}
		if t.lanes.len() == 0 {
			t.queued = false
			s.tenants.pop()
		} else if ok {
			s.tenants.push(s.tenants.pop())
		}
		if ok {
			l.inFlight++
			s.inFlight++
			l.site.inFlight++
			if l.sick {
				s.sickInFlight++
			}
			if l.isReplay() {
				l.site.replays++
				s.replayInFlight++
			}
			s.ease.began(l.isReplay(), now)
			l.began(now)
			it := &item{due: due, lane: l, host: l.site.host, state: l.state, late: !l.isReplay() && due.Late(now)}
			s.began(it)
			return it, time.Time{}
		}
	}
	return nil, s.wakeAt()
}

// wakeAt is when a lane's rest is over, or it is to be looked at again; zero: never.
func (s *lanes) wakeAt() (at time.Time) {
	if len(s.crowded) > 0 {
		at = s.crowdedLooked.Add(maxPark)
	}
	if len(s.timed) > 0 && (at.IsZero() || s.timed[0].wake.Before(at)) {
		at = s.timed[0].wake
	}
	return at
}

// admit gives the lane's delivery, or parks the lane.
func (s *lanes) admit(l *lane, now time.Time) (domain.Due, bool) {
	limit, perSecond := s.perEndpoint, 0.0
	e, known := s.endpoints.Endpoint(l.key.Tenant, l.key.Endpoint)
	if known {
		limit, perSecond = s.limits(e), e.Config.RateLimit
		s.locate(l.site, e)
		places, wait := s.gate(l, now)
		if wait > 0 {
			s.rest(l, now, min(wait, maxPark))
			return domain.Due{}, false
		}
		limit = min(limit, places)
	}
	// Who is parked for places has an attempt under way at its endpoint, whose end wakes it.
	if l.site.full(l, limit) || s.crowdedBy(l, now) || l.inFlight >= greed*(s.window-s.inFlight) {
		l.place = placeOwn
		return domain.Due{}, false
	}
	if l.isReplay() && s.replayInFlight >= s.ease.at(now, s.replayInFlight) {
		l.place = placeReplay
		s.replayWaiting.push(l)
		return domain.Due{}, false
	}
	if l.sick && s.sickInFlight >= s.sickShare() {
		l.place = placeSick
		if !l.inSick {
			l.inSick = true
			s.sickWaiting.push(l)
		}
		return domain.Due{}, false
	}
	if h := l.site.host; h != nil && h.inFlight >= s.hostPlaces(l.key.Tenant) {
		s.waitAt(h, l, now)
		return domain.Due{}, false
	}
	r, wait := s.reserve(l, now, perSecond)
	if wait > 0 {
		s.rest(l, now, min(wait, maxPark))
		return domain.Due{}, false
	}
	due, late, ok := s.take(l, now)
	if !ok {
		if r != nil {
			r.CancelAt(now)
		}
		if late {
			l.place = placeLate
			if s.lateInFlight >= s.lateShare() && !l.inLate { // else the end of one of its own wakes it
				l.inLate = true
				s.lateWaiting.push(l)
			}
			return domain.Due{}, false
		}
		l.place = placeIdle
		s.retire(l)
	}
	return due, ok
}

// lateShare is how much of the window late deliveries share.
func (s *lanes) lateShare() int { return max(1, s.window/2) }

// sickShare is how much of the window the sick lanes share.
func (s *lanes) sickShare() int { return max(1, s.window/4) }

// settle ends an attempt. That it was tried says that something was sent, or tried to, so that timedOut tells how the
// endpoint is.
func (s *lanes) settle(it *item, now time.Time) {
	l, tried, timedOut := it.lane, it.tried, it.timedOut
	l.site.ended = now
	l.ended(it, now)
	s.ended(it)
	s.inFlight--
	l.inFlight--
	l.site.inFlight--
	if l.sick {
		s.sickInFlight--
	}
	if l.isReplay() {
		l.site.replays--
		s.replayInFlight--
	}
	if tried && timedOut != l.sick {
		if l.sick = timedOut; timedOut {
			s.sickInFlight += l.inFlight
		} else {
			s.sickInFlight -= l.inFlight
		}
	}
	if l.place == placeSick && !l.sick {
		s.enter(l)
	}
	l.site.wake(l, func(w *lane) {
		if w.place == placeOwn || w.place == placeLate && !w.inLate {
			s.enter(w)
		}
	})
	s.retire(l)
	s.rouse()
}

// rouse lets those go on that wait for a share in which places are free, and says whether there are any.
func (s *lanes) rouse() bool {
	before := s.tenants.len()
	for free := s.ease.share - s.replayInFlight; free > 0 && s.replayWaiting.len() > 0; free-- {
		s.enter(s.replayWaiting.pop())
	}
	for free := s.sickShare() - s.sickInFlight; free > 0 && s.sickWaiting.len() > 0; {
		w := s.sickWaiting.pop()
		if w.inSick = false; w.place == placeSick {
			s.enter(w)
			free--
		}
	}
	for free := s.lateShare() - s.lateInFlight; free > 0 && s.lateWaiting.len() > 0; {
		w := s.lateWaiting.pop()
		if w.inLate = false; w.place == placeLate {
			s.enter(w)
			free--
		}
	}
	for h := range s.crowded {
		s.admitTo(h)
	}
	return s.tenants.len() > before
}

// sweep forgets the lanes that rest for ever because their endpoints were removed; once half as many more have come, it
// looks again.
func (s *lanes) sweep() {
	for _, l := range s.all {
		s.retire(l)
	}
	s.sweepAt = max(leastSweep, len(s.all)+len(s.all)/2)
}

// retire forgets a lane with nothing due and nothing under way, if its endpoint was removed, or if it is a replay's and
// not its site's last: with that one what the endpoint's rate allows would be forgotten.
func (s *lanes) retire(l *lane) {
	if l.place != placeIdle || l.inFlight > 0 {
		return
	}
	if l.isReplay() && !l.site.alone(l) {
		s.forget(l)
		return
	}
	if e, known := s.endpoints.Endpoint(l.key.Tenant, l.key.Endpoint); !known || e.Removed {
		s.forget(l)
	}
}

func (s *lanes) forget(l *lane) {
	delete(s.all, l.key)
	s.part(l)
	if l.tenant.members--; l.tenant.members == 0 {
		delete(s.byTenant, l.key.Tenant)
	}
}

// queue is first in, first out.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

func (q *queue[T]) front() T { return q.items[q.head] }

func (q *queue[T]) push(v T) {
	if q.head > 32 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

func (q *queue[T]) pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	return v
}

// timedLanes is a heap by the time to wake at.
type timedLanes []*lane

func (h timedLanes) Len() int           { return len(h) }
func (h timedLanes) Less(i, j int) bool { return h[i].wake.Before(h[j].wake) }
func (h timedLanes) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timedLanes) Push(x any)        { *h = append(*h, x.(*lane)) } // only lanes are pushed
func (h *timedLanes) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}
