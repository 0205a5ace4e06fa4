package delivery

import "time"

const (
	// easeEvery is how often it is looked whether replays leave enough to what happens now.
	easeEvery = 20 * time.Millisecond
	// calmLooks is how many looks in a row must find nothing strained before replays get more places.
	calmLooks = 10
	// firstShare is where replays begin on a node that says when it is strained.
	firstShare = 4
)

// ease is how much of the window replays share: at most half, and less while the node is strained. Their places grow
// slowly and shrink fast, so that what is posted meanwhile hardly waits for them.
type ease struct {
	share    int
	most     int
	strained func() bool // nil: never
	looked   time.Time
	calm     int // looks in a row that found nothing strained
}

func newEase(window int, strained func() bool) ease {
	most := max(1, window/2)
	if strained == nil {
		return ease{share: most, most: most}
	}
	return ease{share: min(firstShare, most), most: most, strained: strained}
}

// at gives the share, brought up to date; used is how much of it is in use.
func (e *ease) at(now time.Time, used int) int {
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
