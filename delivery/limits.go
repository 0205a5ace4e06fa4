package delivery

import (
	"container/heap"
	"math"
	"time"

	"hookledger/domain"
)

// probePause is how long an endpoint rests behind an attempt of which its gate lets through only some: until the gate
// knows what that came to.
const probePause = 100 * time.Millisecond

// The last sixteenth of the window is for lanes whose attempts come to an end: how many of them one
// may have there grows with each that ends, and begins anew where none ends for long. So endpoints that hang take few
// of those places before their first attempts time out, however many hang.
const (
	firstAttempts = 2
	stalledAfter  = time.Second
)

// crowdedBy says that the lane leaves what is left of the window to others.
func (s *lanes) crowdedBy(l *lane, now time.Time) bool {
	return s.inFlight >= s.window-s.window/16 && l.inFlight >= l.allowance(now)
}

// allowance is the number of attempts that the lane may have in flight in a window that is nearly full.
func (l *lane) allowance(now time.Time) int {
	if l.inFlight > 0 && now.Sub(l.since) > stalledAfter {
		l.allow = 0
	}
	return firstAttempts + l.allow
}

// began notes that the lane has one more in flight.
func (l *lane) began(now time.Time) {
	if l.inFlight == 1 {
		l.since = now
	}
}

func (l *lane) ended(it *item, now time.Time) {
	l.since = now
	switch {
	case it.timedOut:
		l.allow = 0
	case it.tried:
		l.allow = min(l.allow+1, math.MaxInt/2)
	}
}

type hostKey struct{ tenant, host string }

// host is what a tenant's endpoints at one host and port share.
type host struct {
	key      hostKey
	sites    int // that are there
	inFlight int
	waiting  queue[*lane] // in placeHost
}

// limits is the number of attempts that an endpoint may have in flight.
func (s *lanes) limits(e *domain.Endpoint) int {
	switch {
	case e.Config.Ordered:
		return 1
	case e.Config.MaxInFlight > 0:
		return e.Config.MaxInFlight
	}
	return s.perEndpoint
}

// gate is how many attempts the endpoint's health allows in flight, or how long to wait at least. Nothing is taken
// meanwhile: what waits there spends no attempt.
func (s *lanes) gate(l *lane, now time.Time) (places int, wait time.Duration) {
	if s.gates == nil {
		return math.MaxInt, 0
	}
	g := s.gates.Gate(l.key.Tenant, l.key.Endpoint, now)
	l.state = g.State
	switch {
	case g.Hold != "":
		return 0, max(g.Until.Sub(now), time.Millisecond)
	case g.Places > 0:
		return g.Places, max(0, l.site.ended.Add(probePause).Sub(now))
	}
	return math.MaxInt, 0
}

// rest parks the lane for a time.
func (s *lanes) rest(l *lane, now time.Time, wait time.Duration) {
	l.place, l.wake = placeTimed, now.Add(wait)
	heap.Push(&s.timed, l)
}

// take takes a due delivery. While the lane may have no more late ones, only others are taken; late says then that
// there were none, and that late ones wait.
func (s *lanes) take(l *lane, now time.Time) (d domain.Due, late, ok bool) {
	if l.isReplay() || !s.lateFull(l.late) {
		d, ok = s.backlog.Take(l.key, now)
		return d, false, ok
	}
	return s.backlog.TakeFresh(l.key, now)
}

// lateFull says that a lane with so many late ones in flight may have no more: late deliveries have half of the window,
// and of it a lane leaves a part to others. Or else one that hangs and one that is slow keep those of all the others
// from going on.
func (s *lanes) lateFull(inFlight int) bool { return inFlight >= greed*(s.lateShare()-s.lateInFlight) }

// began counts an attempt, and ended takes it out again.
func (s *lanes) began(it *item) {
	if it.late {
		s.lateInFlight++
		it.lane.late++
	}
	if it.host != nil {
		it.host.inFlight++
	}
}

func (s *lanes) ended(it *item) {
	if it.late {
		s.lateInFlight--
		it.lane.late--
	}
	if it.host != nil {
		it.host.inFlight--
		s.drop(it.host)
	}
}

// locate finds the host of the endpoint's site anew, where its configuration has changed.
func (s *lanes) locate(at *site, e *domain.Endpoint) {
	if at.endpoint == e {
		return
	}
	at.endpoint = e
	key := hostKey{e.Tenant, domain.HostKey(e.Config.Scheme, e.Config.Host)}
	if e.Config.Host == "" || at.host != nil && at.host.key == key {
		return
	}
	s.leave(at)
	if at.host = s.hosts[key]; at.host == nil {
		at.host = &host{key: key}
		s.hosts[key] = at.host
	}
	at.host.sites++
}

// leave takes a site from its host; who waited there asks again.
func (s *lanes) leave(at *site) {
	h := at.host
	if h == nil {
		return
	}
	at.host = nil
	h.sites--
	s.drop(h)
}

// drop forgets a host at which nothing is any more.
func (s *lanes) drop(h *host) {
	if h.sites == 0 && h.inFlight == 0 && h.waiting.len() == 0 && s.hosts[h.key] == h {
		delete(s.hosts, h.key)
	}
}

func (s *lanes) hostPlaces(tenant string) int {
	if s.hostLimit == nil {
		return domain.DefaultMaxInFlightPerHost
	}
	return s.hostLimit(tenant)
}

// admitTo lets as many go on at a host as it has free places.
func (s *lanes) admitTo(h *host) {
	for free := s.hostPlaces(h.key.tenant) - h.inFlight; free > 0 && h.waiting.len() > 0; {
		if l := h.waiting.pop(); l.place == placeHost {
			s.enter(l)
			free--
		}
	}
	if h.waiting.len() == 0 {
		delete(s.crowded, h)
		s.drop(h)
	}
}

// waitAt parks the lane until an attempt at the host ends.
func (s *lanes) waitAt(h *host, l *lane, now time.Time) {
	if len(s.crowded) == 0 {
		s.crowdedLooked = now
	}
	l.place = placeHost
	h.waiting.push(l)
	s.crowded[h] = struct{}{}
}

// lookAtCrowded lets the lanes go on that have nothing to wait for any more at their host: nobody tells that an
// endpoint's url leads elsewhere, or that more is allowed, and what is under way at the host may hang for long.
func (s *lanes) lookAtCrowded(now time.Time) {
	if now.Sub(s.crowdedLooked) < maxPark && !now.Before(s.crowdedLooked) {
		return
	}
	s.crowdedLooked = now
	for h := range s.crowded {
		s.letMoved(h)
		s.admitTo(h)
	}
}

// letMoved lets those ask again that wait at a host where their endpoints are no more; the others keep their turns.
func (s *lanes) letMoved(h *host) {
	for range h.waiting.len() {
		l := h.waiting.pop()
		if e, known := s.endpoints.Endpoint(l.key.Tenant, l.key.Endpoint); known {
			s.locate(l.site, e)
		}
		switch {
		case l.place != placeHost:
		case l.site.host != h:
			s.enter(l)
		default:
			h.waiting.push(l)
		}
	}
}
