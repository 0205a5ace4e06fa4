package delivery

import (
	"runtime"
	"time"
)

const (
	// easeEvery is how often it is looked whether replays leave enough to what happens now.
	easeEvery = 20 * time.Millisecond
	// calmLooks is how many looks in a row must find nothing strained before replays get more places.
	calmLooks = 10
	// firstShare is where replays begin on a node that says when it is strained.
	firstShare = 4
	// replayStarts is how many attempts of replays a second begin at most, for each processor, while other events flow.
	// An attempt is two syncs of the ledger; one of some hundred takes milliseconds on most disks, and whoever posts
	// meanwhile waits for it. Where the places alone bound them, the syncs of replays followed one on the other.
	replayStarts = 125
	// quietAfter is for how long nothing else must have begun until replays take all of their half at once: then nobody
	// waits for them.
	quietAfter = 10 * time.Second
)

// ease is how much of the window replays share: at most half, and while other events flow less: their places grow
// slowly, and shrink fast where the node is strained, so that what is posted meanwhile hardly waits for them.
type ease struct {
	share    int
	most     int
	strained func() bool // nil: never
	looked   time.Time
	calm     int           // looks in a row that found nothing strained
	gap      time.Duration // between the starts of replays while other events flow; 0: none
	others   time.Time     // when an attempt that is no replay's was begun last
	next     time.Time     // when a replay may begin one again
}

func newEase(window int, strained func() bool) ease {
	most := max(1, window/2)
	if strained == nil {
		return ease{share: most, most: most}
	}
	return ease{share: min(firstShare, most), most: most, strained: strained,
		gap: time.Second / time.Duration(replayStarts*runtime.GOMAXPROCS(0))}
}

// alone says that nothing flows that would have to wait for replays.
func (e *ease) alone(now time.Time) bool { return e.gap > 0 && now.Sub(e.others) >= quietAfter }

// rest is how long a replay waits before it begins the next attempt, for the sake of other events.
func (e *ease) rest(now time.Time) time.Duration {
	if e.alone(now) {
		return 0
	}
	return max(0, min(e.next.Sub(now), e.gap)) // no longer, though the clock was set back
}

// began notes an attempt.
func (e *ease) began(isReplay bool, now time.Time) {
	if isReplay {
		e.next = now.Add(e.gap)
		return
	}
	if e.alone(now) {
		e.share, e.calm = min(firstShare, e.most), 0
	}
	e.others = now
}

// at gives the share, brought up to date; used is how much of it is in use.
func (e *ease) at(now time.Time, used int) int {
	if e.alone(now) {
		e.share = e.most
		return e.share
	}
	if e.strained == nil || now.Sub(e.looked) < easeEvery && !now.Before(e.looked) {
		return e.share
	}
	e.looked = now
	if e.calm++; e.strained() {
		e.share, e.calm = max(1, e.share/2), 0
	}
	if e.calm >= calmLooks && used+1 >= e.share { // with the one that asks
		e.share, e.calm = min(e.most, e.share+max(1, e.share/16)), 0
	}
	return e.share
}
