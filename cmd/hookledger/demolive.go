package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/cmd/hookledger/receiver"
	"hookledger/domain"
)

// liveLog shows what happens as it happens: the ledger's records and what receivers saw, one line each.
type liveLog struct {
	paint output.Paint
	start time.Time

	mu         sync.Mutex // guards what follows, and keeps lines whole
	out        io.Writer
	names      map[string]string // endpoint to receiver
	deliveries map[string]demoDelivery
	ended      map[string]string // delivery to its terminal record's type
	changed    chan struct{}     // closed and replaced when ended changes
	lines      []liveLine        // not printed yet
	position   uint64            // of the last record
}

// liveLine waits for lines that are older than it and come later: records and requests come by different ways.
type liveLine struct {
	at   time.Time
	text string
}

// liveDelay is how long a line waits.
const liveDelay = 60 * time.Millisecond

// run prints lines until ctx ends.
func (l *liveLog) run(ctx context.Context) {
	tick := time.NewTicker(liveDelay / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			l.flush(now())
			return
		case <-tick.C:
			l.flush(now().Add(-liveDelay))
		}
	}
}

// flush prints the lines up to a time, in order.
func (l *liveLog) flush(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortStableFunc(l.lines, func(x, y liveLine) int { return x.at.Compare(y.at) })
	n := 0
	for n < len(l.lines) && !l.lines[n].at.After(until) {
		fmt.Fprintln(l.out, l.lines[n].text)
		n++
	}
	l.lines = append(l.lines[:0], l.lines[n:]...)
}

// last is the position of the last record that came.
func (l *liveLog) last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position
}

// demoDelivery is what a delivery is called.
type demoDelivery struct{ event, endpoint string }

func newLiveLog(out io.Writer, paint output.Paint) *liveLog {
	return &liveLog{out: out, paint: paint, start: now(), names: map[string]string{},
		deliveries: map[string]demoDelivery{},
		ended:      map[string]string{}, changed: make(chan struct{})}
}

// line notes one line: when since the start, what, and about what.
func (l *liveLog) line(at time.Time, colour func(string) string, what, format string, args ...any) {
	l.lines = append(l.lines, liveLine{at, fmt.Sprintf("%s  %s  %s",
		l.paint.Dim(fmt.Sprintf("%7.3fs", at.Sub(l.start).Seconds())), colour(fmt.Sprintf("%-18s", what)),
		output.Clean(fmt.Sprintf(format, args...)))})
}

func (l *liveLog) say(what, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	colour := l.paint.Bold
	if what == "error" || what == "invalid" {
		colour = l.paint.Red
	}
	l.line(now(), colour, what, format, args...)
}

// name says what an endpoint's receiver is called.
func (l *liveLog) name(endpoint, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names[endpoint] = name
}

// expect says what a delivery is about.
func (l *liveLog) expect(delivery, event, endpoint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries[delivery] = demoDelivery{event, endpoint}
}

// outcomes gives the deliveries that have ended, and a channel that closes when there is one more.
func (l *liveLog) outcomes() (map[string]string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]string, len(l.ended))
	for k, v := range l.ended {
		out[k] = v
	}
	return out, l.changed
}

// verified shows what a receiver made of a request.
func (l *liveLog) verified(name string, got *receiver.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if got.Status/100 != 2 {
		l.line(got.At, l.paint.Yellow, "receiver", "%s verified %s, and answers %d on purpose", name, got.Event(), got.Status)
		return
	}
	l.line(got.At, l.paint.Cyan, "receiver", "%s verified the signature of %s, and answers %d", name, got.Event(),
		got.Status)
}

// facts are the fields, in the clear, of the records that are shown.
type facts struct {
	Event    string         `json:"event"`
	Matches  []domain.Match `json:"matches"`
	N        int            `json:"n"`
	Status   int            `json:"status"`
	Code     string         `json:"code"`
	Reason   string         `json:"reason"`
	Backoff  string         `json:"backoff"`
	Attempts int            `json:"attempts"`
	Timings  domain.Timings `json:"timings"`
}

// record shows one record of the ledger.
func (l *liveLog) record(r *apiclient.Record) {
	var f facts
	if err := json.Unmarshal(r.Data, &f); err != nil {
		l.say("error", "record %s can't be read: %v", r.ID, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.position = r.Position
	stream := domain.Stream(r.Stream)
	about := l.about(stream.ID())
	switch r.Type {
	case "EventReceived":
		l.line(r.RecordedAt, l.paint.Blue, "event received", "%s  %s", f.Event, stream.ID())
	case "EventRouted":
		for _, m := range f.Matches {
			if _, known := l.deliveries[m.Delivery]; !known {
				l.deliveries[m.Delivery] = demoDelivery{r.CorrelationID, m.Endpoint}
			}
		}
		l.line(r.RecordedAt, l.paint.Blue, "event routed", "to %s", plural(len(f.Matches), "endpoint"))
	case "AttemptStarted":
		l.line(r.RecordedAt, l.paint.Dim, fmt.Sprintf("attempt %d started", f.N), "%s", about)
	case "ResponseReceived":
		colour := l.paint.Green
		if f.Status/100 != 2 {
			colour = l.paint.Red
		}
		l.line(r.RecordedAt, colour, fmt.Sprintf("response %d", f.Status), "%s after %.1f ms", about,
			float64(f.Timings.Total)/1000)
	case "AttemptFailed":
		l.line(r.RecordedAt, l.paint.Red, "attempt failed", "%s: %s", about, f.Code)
	case "AttemptInterrupted":
		l.line(r.RecordedAt, l.paint.Red, "interrupted", "%s: %s", about, f.Reason)
	case "RetryScheduled":
		l.line(r.RecordedAt, l.paint.Yellow, "retry scheduled", "%s in %s", about, f.Backoff)
	case "DeliverySucceeded":
		l.end(stream.ID(), r.Type)
		l.line(r.RecordedAt, l.paint.Green, "succeeded", "%s after %s", about, plural(f.Attempts, "attempt"))
	case "DeliveryExhausted", "DeliveryCancelled":
		l.end(stream.ID(), r.Type)
		l.line(r.RecordedAt, l.paint.Red, r.Type, "%s: %s", about, f.Reason)
	}
}

func (l *liveLog) end(delivery, how string) {
	l.ended[delivery] = how
	close(l.changed)
	l.changed = make(chan struct{})
}

// about says what a delivery is about.
func (l *liveLog) about(delivery string) string {
	d, ok := l.deliveries[delivery]
	if !ok {
		return delivery
	}
	name, ok := l.names[d.endpoint]
	if !ok {
		name = d.endpoint
	}
	return d.event + " to " + name
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
