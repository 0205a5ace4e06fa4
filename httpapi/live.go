package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"hookledger/ledger"
)

// stream answers with records: live ones on and on, others up to the ledger's head. Nothing goes out once the caller's
// key is not let in any more.
func (a *api) stream(w http.ResponseWriter, r *http.Request, c *caller, q *recordsQuery, write recordWriter) {
	out := newStreamWriter(w, func() error { return a.stillPermits(c) })
	var err error
	if q.live {
		err = a.follow(r.Context(), c, out, q, write)
	} else {
		out.begin("application/x-ndjson")
		_, err = a.copyRecords(r.Context(), out, q, write)
	}
	if err == nil {
		err = out.end()
	}
	refused := a.stillPermits(c)
	switch {
	case err == nil:
	case !out.begun:
		a.fail(w, r, err)
	case q.live && (r.Context().Err() != nil || out.broken): // its reader goes on where it was
	case refused != nil && q.live:
		_ = out.close(problemOf(refused).Detail) // the connection ends, be it read or not
	default:
		if refused == nil && r.Context().Err() == nil && !out.broken {
			a.Logger.Error("reading records failed", "path", r.URL.Path, "error", err)
		}
		panic(http.ErrAbortHandler) // what was written is not all: the client must see that
	}
}

// endOfKeyDoc describes what becomes of an answer that its key no longer opens.
const endOfKeyDoc = "When the key is revoked or expires meanwhile, nothing more goes out: server-sent events end with a " +
	"comment that says so, NDJSON is broken off, and the next request is answered 401."

// keepAlive is how often a live stream without records says that it is there.
const keepAlive = 15 * time.Second

// follow writes records as they become durable, until the client or the server goes away, or the caller's key ends.
func (a *api) follow(ctx context.Context, c *caller, out *streamWriter, q *recordsQuery, write recordWriter) error {
	out.begin("text/event-stream")
	// It is sent with what the first read gives, so that a read that is refused can be answered.
	if err := out.write([]byte(cmp.Or(q.preface, ": hookledger records\n\n"))); err != nil {
		return err
	}
	for {
		// What is behind the filter is not read again: the head is taken before the read.
		head := a.Store.Head()
		done, err := a.copyRecords(ctx, out, q, write)
		switch {
		case errors.Is(err, ledger.ErrUnavailable):
			if err := a.ledgerAway(ctx, out); err != nil {
				return err
			}
			continue
		case err != nil || done:
			return err
		}
		q.after = max(q.after, head)
		if err := out.flush(); err != nil {
			return err
		}
		if err := a.awaitRecords(ctx, c, out, q); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// awaitRecords waits for what comes behind q.after. Where that takes long it says that the stream is there.
func (a *api) awaitRecords(ctx context.Context, c *caller, out *streamWriter, q *recordsQuery) error {
	wait, cancel := context.WithTimeout(ctx, a.quietFor(c))
	defer cancel()
	// The record that woke the stream may be the end of its key: the table of keys has it then. Where the table does not
	// follow the ledger soon, it holds as it is, as it does for requests.
	table, enough := context.WithTimeout(wait, tableWithin)
	_ = a.Directory.WaitFor(table, q.after)
	enough()
	if err := out.may(); err != nil {
		return err
	}
	err := a.Store.Wait(wait, q.after)
	switch {
	case ctx.Err() != nil:
		return nil
	case wait.Err() != nil:
		return out.comment("still here")
	}
	return err
}

// tableWithin is how long a live stream waits at each turn for the table of keys, which is milliseconds behind the
// ledger. What comes meanwhile waits, too.
const tableWithin = time.Second

// quietFor is how long a live stream may say nothing: not beyond the end of its key.
func (a *api) quietFor(c *caller) time.Duration {
	if c.key.ExpiresAt.IsZero() {
		return keepAlive
	}
	return min(keepAlive, max(c.key.ExpiresAt.Sub(a.Now()), time.Millisecond))
}

// awayPause is how long a live stream waits before it asks a ledger again that is not available.
const awayPause = time.Second

// ledgerAway keeps a live stream open while the ledger is not available: the reader learns it, and goes on where it
// was.
func (a *api) ledgerAway(ctx context.Context, out *streamWriter) error {
	if err := out.comment("the ledger is not available for now"); err != nil {
		return err
	}
	timer := time.NewTimer(awayPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}
