package esdbtest

import (
	"slices"
	"sort"
	"strconv"
	"strings"
)

// view is what can be seen of a stream at one moment.
type view struct {
	found   bool     // it has events, be they hidden by $tb, $maxCount or $maxAge; a soft-deleted one is not found
	deleted bool     // tombstoned
	events  []*event // visible, without gaps
	next    uint64   // the revision that the next event gets
}

// first is the lowest revision that can be seen, or will be.
func (v view) first() uint64 {
	if len(v.events) == 0 {
		return v.next
	}
	return v.events[0].revision
}

// from gives the visible events at or behind a revision.
func (v view) from(revision uint64) []*event {
	if first := v.first(); revision > first {
		return v.events[min(revision-first, uint64(len(v.events))):]
	}
	return v.events
}

// upTo gives the visible events up to a revision, it included.
func (v view) upTo(revision uint64) []*event {
	first := v.first()
	if revision < first {
		return nil
	}
	return v.events[:min(revision-first+1, uint64(len(v.events)))]
}

// stream gives what can be seen of a stream, and a channel that is closed when that may have changed.
func (e *engine) stream(name string) (view, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.at(name)
	return e.view(s), s.grew.wait()
}

// look is stream for those who do not wait: it leaves no trace of a name that nobody wrote to.
func (e *engine) look(name string) view {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.streams[name]
	if s == nil {
		s = &stream{name: name}
	}
	return e.view(s)
}

// view cuts off what a stream's metadata hides. The caller holds the lock.
func (e *engine) view(s *stream) view {
	if e.dead(s) {
		return view{deleted: true}
	}
	v := view{next: s.next()}
	if len(s.events) == 0 || s.meta.softDeleted() {
		return v
	}
	v.found = true
	base, low := s.events[0].revision, s.meta.truncateBefore
	keep := s.meta.maxCount
	if _, ok := metadataOf(s.name); ok {
		one := uint64(1)
		keep = &one // of metadata only the newest counts
	}
	if keep != nil && v.next > *keep {
		low = max(low, v.next-*keep)
	}
	v.events = s.events[min(max(low, base)-base, uint64(len(s.events))):]
	if s.meta.maxAge > 0 {
		oldest := e.clock().Add(-s.meta.maxAge).UnixNano() / 100
		v.events = v.events[sort.Search(len(v.events), func(i int) bool { return v.events[i].created >= oldest }):]
	}
	return v
}

// tail gives a stream's events from a revision on, hidden ones too, its tombstone if it has one, and a channel that is
// closed when there is more.
func (e *engine) tail(name string, next uint64) (events []*event, tombstone *event, grew <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.at(name)
	if n := s.next(); next < n {
		first := s.events[0].revision
		events = s.events[max(next, first)-first : len(s.events) : len(s.events)]
	}
	return events, s.tomb, s.grew.wait()
}

// after gives the records behind a position, without the one that stands on it, and a channel that is closed when
// there are more.
func (e *engine) after(position uint64) ([]*event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log[e.search(position+1):len(e.log):len(e.log)], e.grew.wait()
}

// all gives the whole log, and the position that the next record gets.
func (e *engine) all() ([]*event, uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log[:len(e.log):len(e.log)], e.end
}

// split gives the records before a position, and those from it on. It is not ok where no record begins: a real node
// reads garbage there. Position 0 and whatever lies behind the end are.
func (e *engine) split(position uint64) (before, from []*event, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := e.search(position)
	switch {
	case position == 0 || position >= e.end:
		ok = true
	case i < len(e.log) && e.log[i].position == position:
		ok = true
	default:
		_, ok = slices.BinarySearch(e.scavenged, position)
	}
	return e.log[:i:i], e.log[i:len(e.log):len(e.log)], ok
}

// search finds the first record at or behind a position. The caller holds the lock.
func (e *engine) search(position uint64) int {
	return sort.Search(len(e.log), func(i int) bool { return e.log[i].position >= position })
}

// resolve gives the event that a link points to, and the link; a broken link has no event. What is no link is its own
// event.
func (e *engine) resolve(r *event) (target, link *event) {
	if r.typ != typeLink {
		return r, nil
	}
	number, name, ok := strings.Cut(string(r.data), "@")
	revision, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return r, nil
	}
	v := e.look(name)
	if !v.found || revision < v.first() || revision >= v.first()+uint64(len(v.events)) {
		return nil, r
	}
	return v.events[revision-v.first()], r
}
