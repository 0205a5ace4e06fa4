package esdbtest

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/google/uuid"
)

// A group keeps what must outlive its node in streams beside it, which can be read as any other.

func (g *group) parkedStream() string     { return "$persistentsubscription-" + g.key + "-parked" }
func (g *group) checkpointStream() string { return "$persistentsubscription-" + g.key + "-checkpoint" }

// park writes a link to the event into the parked stream, with the reason, and is done with it. The caller holds the
// lock.
func (g *group) park(m *message, reason string) {
	g.free(m.event.id)
	target, link := g.engine.resolve(m.event)
	var data string
	switch {
	case target == nil:
		data = string(link.data) // where it pointed to, though nothing is there
	case g.settings.resolveLinks || m.replayed:
		data = linkTo(target)
	default:
		data = linkTo(m.event)
	}
	why, _ := json.MarshalIndent(struct {
		Added  string `json:"added"`
		Reason string `json:"reason"`
		Number int64  `json:"subscriptionEventNumber"`
	}{g.clock().Format("2006-01-02T15:04:05.9999999-07:00"), reason, int64(m.event.revision)}, "", "  ") //nolint:gosec,lll // revisions are below 2^63
	g.engine.append(g.parkedStream(), expectAny,
		[]newEvent{{id: uuid.New(), typ: typeLink, data: []byte(data), meta: why}})
	g.finish(m)
}

func linkTo(e *event) string { return fmt.Sprintf("%d@%s", e.revision, e.stream) }

// replay puts the parked messages, below the number stop of the parked stream if that is given, behind those that wait
// to be sent again, and takes them from the parked stream.
func (g *group) replay(stop int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	end := uint64(0)
	for _, e := range g.engine.look(g.parkedStream()).events {
		if stop > 0 && e.revision >= uint64(stop) {
			break
		}
		g.retry = append(g.retry, &message{event: e, replayed: true})
		end = e.revision + 1
	}
	if end > 0 {
		g.engine.append(metadataStream(g.parkedStream()), expectAny, []newEvent{{id: uuid.New(), typ: typeMetadata,
			json: true, data: fmt.Appendf(nil, `{"$tb":%d}`, end)}})
	}
	g.push()
}

// writeCheckpoint writes down how far all is done, when enough was done and enough time went by since the last time.
// The caller holds the lock.
func (g *group) writeCheckpoint(tick bool) {
	n := g.done - g.mark.done
	many := n >= uint64(max(g.settings.maxCheckpoint, 1))   //nolint:gosec // at least 1
	enough := n >= uint64(max(g.settings.minCheckpoint, 1)) //nolint:gosec // at least 1
	due := g.clock().Sub(g.mark.time) >= g.settings.checkpointAfter
	if !many && (!tick || !enough || !due) {
		return
	}
	if g.mark.at == nil {
		// Only the newest is ever read.
		g.engine.append(metadataStream(g.checkpointStream()), expectAny, []newEvent{{id: uuid.New(), typ: typeMetadata,
			json: true, data: []byte(`{"$maxCount":2}`)}})
	}
	g.mark = groupMark{at: g.lastDone, done: g.done, time: g.clock()}
	g.engine.append(g.checkpointStream(), expectAny, []newEvent{{id: uuid.New(), typ: "SubscriptionCheckpoint",
		json: true, data: []byte(strconv.Quote(g.positionOf(g.lastDone)))}})
}

// positionOf writes an event's place as a group's infos and checkpoints have it; none is an empty text.
func (g *group) positionOf(e *event) string {
	switch {
	case e == nil:
		return ""
	case g.stream == "":
		return allPosition(e.position, e.position)
	}
	return strconv.FormatUint(e.revision, 10)
}

func allPosition(commit, prepare uint64) string { return fmt.Sprintf("C:%d/P:%d", commit, prepare) }
