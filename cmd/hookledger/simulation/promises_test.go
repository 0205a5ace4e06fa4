package simulation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/projections"
)

// seen checks a request at the moment it comes: its intent must be durable by now.
func (w *world) seen(r *request, h http.Header) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tally.requests++
	if strings.Contains(r.signatures, " ") {
		w.tally.double++
	}
	if w.life == nil {
		return // it left before the crash; verify looks at it
	}
	switch err := w.readOn(); {
	case errors.Is(err, ledger.ErrClosed):
		return
	case err != nil:
		w.t.Errorf("the ledger can't be read: %v", err)
		return
	}
	r.checked = true
	if err := w.ledger.request(w.ids[r.endpoint], r); err != nil {
		w.t.Error(err)
	}
}

// readOn lets the witness read to the end of the ledger; w.mu is held, and there is a life.
func (w *world) readOn() error {
	return w.ledger.read(w.life.store.ReadAll(context.Background(), w.ledger.position))
}

// heal makes everything well and waits until all that was begun has ended.
func (w *world) heal() {
	for _, host := range w.hosts {
		w.receivers.set(host, well)
	}
	w.posting.Wait()
	// What was answered before may still disable an endpoint: it is enabled once that is done.
	pass(time.Minute)
	for _, host := range w.hosts {
		w.enables(w.ids[host])
	}
	const patience = 10 * 24 * time.Hour
	for end := time.Now().Add(patience); ; pass(time.Hour) {
		w.mu.Lock()
		err := w.readOn()
		open, stuck := w.ledger.open(), w.ledger.stuck()
		w.mu.Unlock()
		for _, id := range stuck { // what waits behind it goes on when it has succeeded
			w.ask("POST", "/v1/deliveries/"+id+"/retry", map[string]any{"force": true})
		}
		switch {
		case err != nil:
			w.t.Fatalf("the ledger can't be read: %v", err)
		case len(open) == 0:
			return
		case time.Now().After(end):
			a := w.ask("GET", "/v1/deliveries/"+open[0], nil)
			w.t.Errorf("%v after all was healed %d deliveries have no end, the first is %s", patience, len(open), a.body)
			return
		}
	}
}

// verify checks what can be said in the end.
func (w *world) verify() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.ledger.broken {
		w.t.Error(b)
	}
	for id := range w.acked {
		switch event := w.ledger.received[id]; {
		case event == nil:
			w.t.Errorf("event %s was answered 202 and is not on the ledger", id)
		case !event.routed:
			w.t.Errorf("event %s was answered 202, and who gets it was never decided", id)
		}
	}
	taken := map[string]bool{} // event and endpoint
	w.receivers.mu.Lock()
	for _, r := range w.receivers.requests {
		endpoint := w.ids[r.endpoint]
		if !r.checked {
			if err := w.ledger.request(endpoint, r); err != nil {
				w.t.Error(err)
			}
		}
		if w.ledger.received[r.id] == nil || strings.HasPrefix(r.id, posted) && !strings.Contains(r.body, w.acked[r.id]) {
			w.t.Errorf("the body of %s at %s is not what was posted: %s", r.id, r.endpoint, r.body)
		}
		if r.status >= 200 && r.status < 300 {
			taken[r.id+" "+endpoint] = true
		}
	}
	w.receivers.mu.Unlock()
	for id, d := range w.ledger.deliveries {
		w.tally.deliveries++
		switch d.Status {
		case domain.StatusSucceeded:
			w.tally.succeeded++
			if !taken[d.event+" "+d.endpoint] {
				w.t.Errorf("delivery %s is said to have succeeded, and %s has not answered so", id, d.endpoint)
			}
		case domain.StatusExhausted:
			w.tally.exhausted++
		case domain.StatusCancelled:
			w.tally.cancelled++
		}
		w.tally.interrupted += d.interrupted
	}
	w.tally.events, w.tally.crossed = len(w.acked), w.ledger.crossed
	w.tally.changes = len(w.ledger.endpoints.changes)
}

// rebuilt folds the ledger anew and compares the rows; again where somebody wrote meanwhile.
func (w *world) rebuilt() {
	for turn := 1; ; turn++ {
		head := w.life.store.Head()
		lived, anew, err := w.folds(rowsOf(w.dir, w.rows+turn))
		switch {
		case err != nil:
			w.t.Errorf("fold the ledger anew: %v", err)
		case w.life.store.Head() != head && turn < 10:
			continue
		case lived != anew:
			w.t.Errorf("the rows are not those that the ledger gives when it is folded anew: %s, %s", lived, anew)
		}
		return
	}
}

// folds gives the digests of the rows as they are, and as the ledger gives them.
func (w *world) folds(dir string) (lived, anew string, err error) {
	ctx := context.Background()
	if err := w.life.proj.WaitFor(ctx, w.life.store.Head()); err != nil {
		return "", "", err
	}
	p, err := projections.Open(ctx, projections.Config{Dir: dir, Store: w.life.store, Now: now})
	if err != nil {
		return "", "", err
	}
	lived, err1 := w.life.proj.Digest(ctx)
	anew, err2 := p.Digest(ctx)
	return lived, anew, errors.Join(err1, err2, p.Close())
}

// tally is what a world came to see.
type tally struct {
	events, deliveries, requests, succeeded, exhausted, cancelled, changes, interrupted, crashes, crossed, double int
}

var adding sync.Mutex

func (t *tally) add(o tally) {
	adding.Lock()
	defer adding.Unlock()
	t.events += o.events
	t.deliveries += o.deliveries
	t.requests += o.requests
	t.succeeded += o.succeeded
	t.exhausted += o.exhausted
	t.cancelled += o.cancelled
	t.changes += o.changes
	t.interrupted += o.interrupted
	t.crashes += o.crashes
	t.crossed += o.crossed
	t.double += o.double
}

func (t *tally) String() string {
	return fmt.Sprintf("%d events, %d deliveries (%d succeeded, %d exhausted, %d cancelled), %d requests (%d of them "+
		"signed with several keys), %d changes of endpoints, %d crashes, %d attempts interrupted, %d crossed", t.events,
		t.deliveries, t.succeeded, t.exhausted, t.cancelled, t.requests, t.double, t.changes, t.crashes, t.interrupted,
		t.crossed)
}
