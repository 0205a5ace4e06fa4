package delivery

import (
	"slices"
	"time"

	"golang.org/x/time/rate"

	"hookledger/domain"
)

// site is what the lanes of one endpoint share: the endpoint's limits hold for all that is sent there. Replays take at
// most half of its places, and of its rate what its own lane leaves.
type site struct {
	own      *lane   // nil: nothing was routed there yet
	again    []*lane // of replays, the one whose turn was longest ago first
	inFlight int
	replays  int              // of these
	limiter  *rate.Limiter    // nil: no limit
	endpoint *domain.Endpoint // that the host is of
	host     *host            // nil: not known
	ended    time.Time        // the last attempt
}

// join puts a new lane to its site.
func (s *lanes) join(l *lane) {
	key := domain.EndpointKey{Tenant: l.key.Tenant, Endpoint: l.key.Endpoint}
	at := s.sites[key]
	if at == nil {
		at = &site{}
		s.sites[key] = at
	}
	l.site = at
	if l.isReplay() {
		at.again = append(at.again, l)
	} else {
		at.own = l
	}
}

// part takes a lane from its site.
func (s *lanes) part(l *lane) {
	at := l.site
	if at.own == l {
		at.own = nil
	}
	at.again = slices.DeleteFunc(at.again, func(o *lane) bool { return o == l })
	if at.own == nil && len(at.again) == 0 {
		delete(s.sites, domain.EndpointKey{Tenant: l.key.Tenant, Endpoint: l.key.Endpoint})
		s.leave(at)
	}
}

// alone says that the lane is the site's only one.
func (at *site) alone(l *lane) bool {
	return (at.own == nil || at.own == l) && !slices.ContainsFunc(at.again, func(o *lane) bool { return o != l })
}

// wake offers the place of an attempt of l that ended: to the endpoint's own lane, and after one of its own to the
// replays first, so that neither waits for ever.
func (at *site) wake(l *lane, enter func(*lane)) {
	if i := slices.Index(at.again, l); i >= 0 && len(at.again) > 1 {
		at.again = append(slices.Delete(at.again, i, i+1), l)
	}
	if l != at.own && at.own != nil {
		enter(at.own)
	}
	for _, w := range at.again {
		enter(w)
	}
	if l == at.own {
		enter(l)
	}
}

// full says that the lane finds no place at an endpoint of so many.
func (at *site) full(l *lane, limit int) bool {
	return at.inFlight >= limit || l.isReplay() && at.replays >= l.places(limit)
}

// places is how many of an endpoint's places the lane may have.
func (l *lane) places(limit int) int {
	if l.isReplay() {
		return max(1, limit/2)
	}
	return limit
}

// reserve takes what an attempt needs beside a place, or says how long to wait for it.
func (s *lanes) reserve(l *lane, now time.Time, perSecond float64) (*rate.Reservation, time.Duration) {
	if l.isReplay() {
		if wait := s.ease.rest(now); wait > 0 {
			return nil, wait
		}
	}
	return l.site.reserve(l, now, perSecond)
}

// reserve takes one of the endpoint's tokens, or says how long to wait for it. A limit allows a tenth of a second's
// worth, at least one, in a burst.
func (at *site) reserve(l *lane, now time.Time, perSecond float64) (*rate.Reservation, time.Duration) {
	if perSecond <= 0 {
		at.limiter = nil
		return nil, 0
	}
	if at.limiter == nil || at.limiter.Limit() != rate.Limit(perSecond) {
		at.limiter = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/10)))
	}
	if l.isReplay() && at.ownWaits() {
		return nil, time.Duration(float64(time.Second) / perSecond)
	}
	r := at.limiter.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return nil, wait
	}
	return r, 0
}

// ownWaits says that the endpoint's own lane is about to take a token.
func (at *site) ownWaits() bool {
	return at.own != nil && (at.own.place == placeRound || at.own.place == placeTimed)
}
