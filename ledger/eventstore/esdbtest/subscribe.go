package esdbtest

import (
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// A subscription begins with its confirmation, then come the events that there are, then caught-up, then events as
// they are written. What is wrong with the request is said instead of the confirmation.

func (s *streamsService) subscribeToStream(call *Call, o *streams.ReadReq_Options_StreamOptions, w *reader,
	out streams.Streams_ReadServer) error {
	v := w.engine.look(call.Stream)
	if v.deleted {
		return errStreamDeleted(call.Stream)
	}
	var next uint64
	switch o.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		next = o.GetRevision() + 1
	case *streams.ReadReq_Options_StreamOptions_End:
		next = v.next
	}
	if err := out.Send(confirmationMessage()); err != nil {
		return err
	}
	f := newFeed(s.server, call, out)
	return f.finish(followStream(f, w, call.Stream, next, o.GetEnd() == nil))
}

// followStream sends a stream's events from a revision on. A stream that does not exist, or is deleted, is waited for
// before the subscription has caught up; from the end it has at once.
func followStream(f *feed, w *reader, name string, next uint64, catchUp bool) error {
	for catchUp {
		v, grew := w.engine.stream(name)
		if v.deleted {
			return errStreamDeleted(name)
		}
		if !v.found {
			if err := f.wait(grew); err != nil {
				return err
			}
			continue
		}
		events := v.from(next)
		for _, r := range events {
			if err := f.push(w.message(r)); err != nil {
				return err
			}
			next = r.revision + 1
		}
		catchUp = len(events) > 0
	}
	if err := f.push(caughtUpMessage()); err != nil {
		return err
	}
	f.live = true
	for {
		// Live, what is written is sent, whatever the stream's metadata would hide.
		events, tombstone, grew := w.engine.tail(name, next)
		for _, r := range events {
			if err := f.push(w.message(r)); err != nil {
				return err
			}
			next = r.revision + 1
		}
		if tombstone != nil {
			if err := f.push(w.message(tombstone)); err != nil {
				return err
			}
			return errStreamDeleted(name)
		}
		if err := f.wait(grew); err != nil {
			return err
		}
	}
}

func (s *streamsService) subscribeToAll(call *Call, o *streams.ReadReq_Options, w *reader,
	out streams.Streams_ReadServer) error {
	match, due, err := filterOf(o)
	if err != nil {
		return err
	}
	behind, err := w.engine.start(o.GetAll())
	if err != nil {
		return err
	}
	if err := out.Send(confirmationMessage()); err != nil {
		return err
	}
	f := newFeed(s.server, call, out)
	return f.finish((&logFollower{feed: f, reader: w, match: match, due: due}).follow(behind))
}

// start gives the position behind which a subscription to $all begins. A position names the first event at or behind
// it, and that event is not sent: the prepare position of a checkpoint, which is 0, makes no difference.
func (e *engine) start(o *streams.ReadReq_Options_AllOptions) (uint64, error) {
	if o.GetEnd() != nil {
		_, end := e.all()
		return end - 1, nil
	}
	p := o.GetPosition()
	if p.GetCommitPosition() == 0 {
		return 0, nil
	}
	_, from, ok := e.split(p.GetCommitPosition())
	if !ok || p.GetPreparePosition() > p.GetCommitPosition() {
		return 0, errHandler()
	}
	for _, r := range from {
		if !r.hidden {
			return r.position, nil
		}
	}
	return p.GetCommitPosition() - 1, nil
}

// logFollower sends the log to a subscription. While it catches up it goes through the log page by page, and a
// checkpoint comes at the end of a page, when enough records have been looked at since the last one. Such a checkpoint
// stands on the page's last event that was sent, or, when none was, where the page began: there its prepare position
// is 0, and it is no event's position.
type logFollower struct {
	*feed
	reader *reader
	match  filter
	due    checkpoints
	looked uint64 // records since the last checkpoint; the count goes on when it is live
	page   page
}

// page is a part of the log: as many records as the client's search window, or as hold pageMatches events that match.
type page struct {
	looked, matched uint64
	begin           uint64 // where it began
	last            uint64 // the position of its last event that matched; 0: none
}

const pageMatches = 32

func (l *logFollower) follow(behind uint64) error {
	l.page.begin = behind
	for {
		records, grew := l.reader.engine.after(behind)
		for _, r := range records {
			behind = r.position
			if r.hidden {
				continue
			}
			if err := l.take(r); err != nil {
				return err
			}
		}
		if len(records) > 0 {
			continue
		}
		if !l.live {
			if err := l.push(caughtUpMessage()); err != nil {
				return err
			}
			l.live = true
		}
		if err := l.wait(grew); err != nil {
			return err
		}
	}
}

// take sends a record if it is wanted, and a checkpoint if one is due.
func (l *logFollower) take(r *event) error {
	matches := l.match == nil || l.match(r)
	if matches {
		if err := l.push(l.reader.message(r)); err != nil {
			return err
		}
	}
	if l.due.every == 0 {
		return nil
	}
	l.looked++
	if l.live {
		if l.looked < l.due.every {
			return nil
		}
		l.looked = 0
		return l.push(checkpointMessage(r.position, r.position))
	}
	l.page.looked++
	if matches {
		l.page.matched++
		l.page.last = r.position
	}
	if l.page.looked < l.due.window && l.page.matched < pageMatches {
		return nil
	}
	done := l.page
	l.page = page{begin: r.next}
	if l.looked < l.due.every {
		return nil
	}
	l.looked %= l.due.every
	if done.last > 0 {
		return l.push(checkpointMessage(done.last, done.last))
	}
	return l.push(checkpointMessage(done.begin, 0))
}
