package delivery

import "time"

// easeEvery is how often it is looked whether replays leave enough to what happens now.
const easeEvery = 20 * time.Millisecond

// firstShare is where replays begin on a node that says when it is strained.
const firstShare = 4

// ease is how much of the window replays share: at most half, and less while the node is strained. Their places grow
// slowly and shrink fast, so that what is posted meanwhile hardly waits for them.
type ease struct {
	share    int
	most     int
	strained func() bool // nil: never
	looked   time.Time
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
	switch {
	case e.strained():
		e.share = max(1, e.share*3/4)
	case used+1 >= e.share: // with the one that asks
		e.share = min(e.most, e.share+max(1, e.share/16))
	}
	return e.share
}
