package replays

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"hookledger/domain"
)

// pageTime is how much of a rate goes out at once: a tenth of a second's, as an endpoint's own limit allows it.
const pageTime = 100 * time.Millisecond

// pace says when the next deliveries of a replay are due. It begins anew when the replay goes on after a pause or a
// restart: what was not sent meanwhile is not made up for.
type pace struct {
	limiter *rate.Limiter // nil: no rate
	factor  float64       // of the gaps; 0: they do not count
	event   time.Time     // when the event before was received; zero: there was none
	at      time.Time     // and when it went out
}

func newPace(f *domain.ReplayRequested, last domain.ReplayCursor, now time.Time) *pace {
	p := &pace{factor: f.GapFactor, event: last.At, at: now}
	if f.Rate > 0 {
		p.limiter = rate.NewLimiter(rate.Limit(f.Rate), max(1, int(f.Rate*pageTime.Seconds())))
	}
	return p
}

// allowed is how many the rate lets out now.
func (p *pace) allowed(now time.Time) int {
	if p.limiter == nil {
		return math.MaxInt
	}
	return int(p.limiter.TokensAt(now))
}

// due is how many of the pairs, which the rate lets out, are due by their gaps; when none is, how long to wait.
func (p *pace) due(pairs []domain.PlannedPair, now time.Time) (int, time.Duration) {
	if len(pairs) == 0 {
		missing := 1 - p.limiter.TokensAt(now)
		return 0, max(pageTime/10, time.Duration(missing/float64(p.limiter.Limit())*float64(time.Second)))
	}
	if p.factor == 0 {
		return len(pairs), 0
	}
	event := p.event
	if event.IsZero() {
		event = pairs[0].At
	}
	for i, pair := range pairs {
		gap := time.Duration(float64(pair.At.Sub(event)) * p.factor)
		if wait := p.at.Add(gap).Sub(now); wait > 0 {
			if i > 0 {
				return i, 0
			}
			return 0, wait
		}
	}
	return len(pairs), 0
}

// took notes what went out.
func (p *pace) took(page []domain.PlannedPair, now time.Time) {
	if p.limiter != nil {
		p.limiter.AllowN(now, len(page))
	}
	if last := page[len(page)-1].At; p.factor > 0 {
		// The next gap counts from when this one was due, not from when the turn came to it: lateness does not add up.
		if p.event.IsZero() {
			p.event = page[0].At
		}
		p.at = p.at.Add(time.Duration(float64(last.Sub(p.event)) * p.factor))
		p.event = last
	}
}
