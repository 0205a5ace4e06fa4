package esdbtest

import "slices"

// Scavenge removes from the log what streams don't show any more, as the maintenance of a real node does: events
// hidden by $maxCount, $maxAge, $tb, a soft delete or a tombstone, and old metadata. Of a stream that is not
// tombstoned its newest event stays, and with it its revision. It says how many records it removed. (A real node
// leaves the newest chunk of its log as it is, so that an event is removed late; here nothing is spared.)
//
// What was removed can't be read from $all any more, and a repeated append of it is refused.
func (s *Server) Scavenge() int { return s.engine.scavenge() }

func (e *engine) scavenge() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.streams {
		switch v := e.view(s); {
		case len(s.events) == 0:
		case v.deleted:
			s.events = nil
		default:
			hidden := min(v.first()-s.events[0].revision, uint64(len(s.events))-1)
			s.events = slices.Clone(s.events[hidden:])
		}
	}
	kept := make([]*event, 0, len(e.log))
	for _, r := range e.log {
		s := e.streams[r.stream]
		if !r.hidden && (s.find(r.revision) == r || s.tomb == r) {
			kept = append(kept, r)
			continue
		}
		e.scavenged = append(e.scavenged, r.position)
	}
	removed := len(e.log) - len(kept)
	slices.Sort(e.scavenged)
	e.log = kept
	return removed
}
