package esdbtest

import (
	"fmt"

	"github.com/google/uuid"
)

// written is the answer to an append or a delete.
type written struct {
	verdict  verdict
	current  int64  // the stream's revision when it was decided; -1: no such stream
	revision int64  // of the last event written, now or then; -1: the stream has none
	position uint64 // of that event
	located  bool   // false: it was written before and can't be seen any more, so its position is not known
}

// append writes events to a stream, all of them or none. What it gives back is visible to every reader.
func (e *engine) append(name string, expected int64, events []newEvent) written {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.appendLocked(name, expected, events)
}

func (e *engine) appendLocked(name string, expected int64, events []newEvent) written {
	s := e.at(name)
	v, last := e.check(s, expected, events)
	w := written{verdict: v, current: s.last(), revision: s.last()}
	switch v {
	case repeated:
		w.revision = int64(last)
		if first := e.view(s).first(); last >= first {
			if r := s.find(last); r != nil {
				w.position, w.located = r.position, true
			}
		}
		return w
	case wrongRevision, streamDeleted:
		return w
	}
	w.located = true
	if len(events) == 0 {
		r := e.record(name, 0, &newEvent{})
		r.hidden = true
		w.position = r.position
		return w
	}
	reopened, from := s.meta.softDeleted(), s.next()
	for i := range events {
		r := e.write(s, &events[i])
		e.recent.put(r)
		w.revision, w.position = int64(r.revision), r.position
	}
	if reopened {
		// What was deleted stays hidden: the stream now begins with what was just written.
		e.write(e.at(metadataStream(name)), &newEvent{id: uuid.New(), typ: typeMetadata, json: true,
			data: s.meta.truncatedBefore(from)})
	}
	return w
}

// delete hides a stream until the next append to it, or, when it is for ever, writes its tombstone.
func (e *engine) delete(name string, expected int64, forEver bool) written {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.at(name)
	v, _ := e.check(s, expected, nil)
	w := written{verdict: v, current: s.last(), revision: s.last(), located: true}
	if v == accepted && !forEver && s.last() < 0 {
		w.verdict = wrongRevision
	}
	if w.verdict != accepted {
		return w
	}
	if !forEver {
		w.position = e.write(e.at(metadataStream(name)), &newEvent{id: uuid.New(), typ: typeMetadata, json: true,
			data: fmt.Appendf(nil, `{"$tb":%d}`, int64(deletedBefore))}).position
		return w
	}
	s.tomb = e.record(name, tombstoneRevision, &newEvent{id: uuid.New(), typ: typeDeleted})
	w.position = s.tomb.position
	s.grew.fire()
	return w
}
