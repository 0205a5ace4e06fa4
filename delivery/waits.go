package delivery

import (
	"math"
	"time"

	"hookledger/domain"
)

// What a delivery waits for, as Wait.For says it.
const (
	WaitSchedule         = "schedule"           // its time
	WaitOrder            = "order"              // the end of another one, since its endpoint is ordered
	WaitEndpointRate     = "endpoint_rate"      // its endpoint's requests a second
	WaitEndpointInFlight = "endpoint_in_flight" // the end of an attempt at its endpoint
	WaitHostInFlight     = "host_in_flight"     // the end of an attempt of its tenant at the same host
	WaitSlowedDown       = "slowed_down"        // its endpoint, which said that it has too much to do
	WaitWindow           = "window"             // a place in the window, or in the part of it that one endpoint may have
	WaitTimedOutShare    = "timed_out_share"    // one in what endpoints share whose last attempt timed out
	WaitLateShare        = "late_share"         // one in what late deliveries share
	WaitReplayShare      = "replay_share"       // one in what replays share, or the pace at which they begin
	WaitTurn             = "turn"               // nothing but those before it
	WaitAttempt          = "attempt"            // nothing any more: it was taken, and its attempt is about to begin
	WaitReturned         = "returned"           // its time, since it had its turn and no attempt of it could be recorded
	WaitLedger           = "ledger"             // the ledger, which can't be written or has no room
)

// Wait is what a delivery waits for at a moment, on this node.
type Wait struct {
	For    string
	Until  time.Time // when that ends; zero: not known
	Limit  float64   // that it waits for, of attempts at once, or a second; 0: none
	Ahead  int       // that are due at its endpoint before it; -1: not known, or of no matter
	Behind string    // with WaitOrder the delivery that must end first; empty: not known
}

// Waits says what a delivery waits for that is neither in flight, as far as its row knows, nor held. It says false
// where that is over already, and the rows are about to say so. It looks where it is decided what is sent, and changes
// nothing there.
func (d *Delivery) Waits(due domain.Due) (Wait, bool) { return d.source.waits(&due) }

func (s *Source) waits(due *domain.Due) (Wait, bool) {
	full := s.room != nil && s.room() != nil
	now, key := s.now(), domain.EndpointKey{Tenant: due.Tenant, Endpoint: due.Endpoint, Replay: due.Replay}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, waits := s.backlog.Standing(key, due.Delivery)
	if at.DueAt.IsZero() {
		at.DueAt = due.DueAt
	}
	switch {
	case !waits:
		return Wait{}, false
	case at.Taken:
		return Wait{For: WaitAttempt, Ahead: -1}, true
	case at.InOrder:
		return Wait{For: WaitOrder, Ahead: at.Ahead, Behind: at.Behind}, true
	case at.DueAt.After(now) && at.Returned:
		return Wait{For: WaitReturned, Until: at.DueAt, Ahead: -1}, true
	case at.DueAt.After(now):
		return Wait{For: WaitSchedule, Until: at.DueAt, Ahead: -1}, true
	case full:
		return Wait{For: WaitLedger, Ahead: at.Ahead}, true
	case s.pausedTill.After(now):
		return Wait{For: WaitLedger, Until: s.pausedTill, Ahead: at.Ahead}, true
	}
	late := due.Replay == "" && now.Sub(at.DueAt) > domain.LateAfter
	w, waits := s.lanes.waits(key, late, now)
	if w.Ahead = at.Ahead; at.Ahead != 0 {
		w.Until = time.Time{} // of the first one
	}
	return w, waits
}

// waits says what keeps an endpoint's first due delivery from being taken; late says whether it is.
func (s *lanes) waits(key domain.EndpointKey, late bool, now time.Time) (Wait, bool) {
	w, ok, lateHere := Wait{For: WaitTurn}, true, 0
	if l := s.all[key]; l != nil {
		w, ok = s.parked(l, now)
		lateHere = l.late
	}
	switch {
	case !ok || w.For != WaitTurn:
	case late && s.lateFull(lateHere):
		w = Wait{For: WaitLateShare, Limit: float64(s.lateShare())}
	case s.inFlight >= s.window:
		w = Wait{For: WaitWindow, Limit: float64(s.window)}
	}
	return w, ok
}

// parked says what the lane waits for where it is parked. It must leave the lane as it is.
func (s *lanes) parked(l *lane, now time.Time) (Wait, bool) {
	switch l.place {
	case placeOwn:
		return s.parkedForPlaces(l, now)
	case placeTimed:
		return s.parkedForTime(l, now)
	case placeHost:
		return Wait{For: WaitHostInFlight, Limit: float64(s.hostPlaces(l.key.Tenant))}, true
	case placeSick:
		return Wait{For: WaitTimedOutShare, Limit: float64(s.sickShare())}, true
	case placeReplay:
		return Wait{For: WaitReplayShare, Limit: float64(s.ease.share)}, true
	default: // late ones may wait in lanes that go on, too
		return Wait{For: WaitTurn}, true
	}
}

func (s *lanes) parkedForPlaces(l *lane, now time.Time) (Wait, bool) {
	copied := *l // what is asked below notes in a lane what it finds
	l = &copied
	limit, places := s.perEndpoint, math.MaxInt
	if e, known := s.endpoints.Endpoint(l.key.Tenant, l.key.Endpoint); known {
		limit = s.limits(e)
		var rest time.Duration
		if places, rest = s.gate(l, now); places == 0 && rest > 0 {
			return Wait{}, false // it is held since a moment ago
		}
	}
	switch {
	case places < limit && l.site.full(l, places):
		return Wait{For: WaitSlowedDown, Limit: float64(l.places(places))}, true
	case !l.site.full(l, limit) && (s.crowdedBy(l, now) || l.inFlight >= greed*(s.window-s.inFlight)):
		return Wait{For: WaitWindow, Limit: float64(s.window)}, true
	}
	return Wait{For: WaitEndpointInFlight, Limit: float64(l.places(limit))}, true
}

func (s *lanes) parkedForTime(l *lane, now time.Time) (Wait, bool) {
	e, known := s.endpoints.Endpoint(l.key.Tenant, l.key.Endpoint)
	if !known {
		return Wait{For: WaitTurn}, true
	}
	copied := *l
	switch places, rest := s.gate(&copied, now); {
	case places == 0 && rest > 0:
		return Wait{}, false
	case rest > 0:
		return Wait{For: WaitSlowedDown, Until: now.Add(rest), Limit: float64(places)}, true
	}
	if rest := s.ease.rest(now); l.isReplay() && rest > 0 {
		return Wait{For: WaitReplayShare, Until: now.Add(rest)}, true
	}
	perSecond, at := e.Config.RateLimit, l.site
	if perSecond <= 0 || at.limiter == nil {
		return Wait{For: WaitTurn}, true
	}
	w := Wait{For: WaitEndpointRate, Limit: perSecond}
	switch lacks := 1 - at.limiter.TokensAt(now); {
	case l.isReplay() && at.ownWaits():
	case lacks > 0:
		w.Until = now.Add(time.Duration(lacks / perSecond * float64(time.Second)))
	default:
		return Wait{For: WaitTurn}, true
	}
	return w, true
}
