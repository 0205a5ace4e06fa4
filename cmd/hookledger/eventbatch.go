package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// Bounds of a batch: the API takes 1,000 events and 16 MiB.
const (
	maxBatch      = 1000
	maxBatchBytes = 8 << 20
	maxComplaints = 20 // that are printed; the rest are counted
)

// summary is what a table says of many events.
type summary struct {
	Sent       int `json:"sent"`
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
	Refused    int `json:"refused"`
	Deliveries int `json:"deliveries"`
}

// posting is an event of a batch.
type posting struct {
	event  []byte
	end    int64                             // where it ends in the input
	result *apiclient.Item[apiclient.Result] // nil: not answered yet, or told to come later
}

// batchSender sends the events of a file.
type batchSender struct {
	a       *app
	client  *apiclient.Client
	in      io.Reader
	events  *eventReader
	bar     *output.Progress
	results *output.List[apiclient.Result]
	sum     summary
	before  int // events that stand before those of pending: all of them were answered, or left out by --skip
	pending []*posting
	bytes   int
	max     int
	wait    waiting
}

// sendFile sends what a file, or stdin for "-", holds: one event as such, several in batches.
func (a *app) sendFile(ctx context.Context, c *apiclient.Client, s *sending, name string) error {
	if s.batch < 1 || s.batch > maxBatch {
		return usage("--batch is out of range", "give 1 to 1000")
	}
	if s.wait < 0 || s.skip < 0 {
		return usage("--wait or --skip is negative", "give 0 or more")
	}
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usage("the file can't be read: "+err.Error(), "check its name")
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	events, err := newEventReader(in)
	if err != nil {
		return err
	}
	first, err := events.behind(s.skip)
	if errors.Is(err, io.EOF) {
		if events.n > 0 {
			return usage(fmt.Sprintf("there are %d events in the input, and --skip leaves out all of them", events.n),
				"give --skip how many were sent already")
		}
		return usage("there is no event in the input", `write each like {"event":"order.paid","data":{"orderId":"o1"}}`)
	}
	if err != nil {
		return err
	}
	second, err := events.next()
	if errors.Is(err, io.EOF) {
		return a.postOne(ctx, c, first, s.key)
	}
	if s.key != "" {
		return usage("--idempotency-key is for one event", "give each event an id of its own")
	}
	b := &batchSender{a: a, client: c, in: in, events: events, max: s.batch, before: s.skip,
		results: output.NewList(a.printer, batchColumns()), bar: output.NewBytes(a.err, "sending", size(in)),
		wait: waiting{atMost: s.wait}}
	return b.run(ctx, first, second, err)
}

// run sends the two events that were read already, and the rest. err is what reading the second one gave.
func (b *batchSender) run(ctx context.Context, first, second []byte, err error) error {
	sendErr := b.add(ctx, first)
	for next := second; sendErr == nil && err == nil; next, err = b.events.next() {
		sendErr = b.add(ctx, next)
	}
	if sendErr == nil {
		sendErr = b.flush(ctx)
	}
	b.bar.Done()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	switch {
	case sendErr == nil && err == nil:
	case sendErr == nil && errors.Is(err, errOpenArray): // nothing is left to go on with
		b.a.note("sent all %s; the array lacks its ]", plural(b.before, "event"))
	case sendErr == nil: // sent again as it is, it would end here again
		err = errors.Join(err, b.brokeOff(err, fmt.Sprintf("repair event %d, then ", b.events.n+1)))
	default:
		err = errors.Join(sendErr, err)
		err = errors.Join(err, b.brokeOff(err, ""))
	}
	return errors.Join(err, b.finish())
}

func (b *batchSender) add(ctx context.Context, event []byte) error {
	if len(b.pending) == b.max || b.bytes+len(event) > maxBatchBytes && len(b.pending) > 0 {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	event = withID(event)
	b.pending = append(b.pending, &posting{event: event, end: b.events.offset()})
	b.bytes += len(event)
	return nil
}

// flush sends the batch, and what of it the server does not take for now as often as it says when.
func (b *batchSender) flush(ctx context.Context) error {
	for len(b.pending) > 0 {
		// What was sent is waited for also when the command is to end: so that it is known what was taken.
		if ctx.Err() != nil {
			return errInterrupted
		}
		later, err := b.post(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		if err := b.settle(); err != nil {
			return err
		}
		if later != nil {
			if err := b.wait.out(ctx, b.a, b.bar, later); err != nil {
				return err
			}
		}
	}
	b.bytes = 0
	return nil
}

// post sends the events of the batch that have no result. later is why some still have none.
func (b *batchSender) post(ctx context.Context) (later *apiclient.Problem, err error) {
	body, open := []byte{'['}, []*posting(nil)
	for _, p := range b.pending {
		if p.result != nil {
			continue
		}
		if len(open) > 0 {
			body = append(body, ',')
		}
		body, open = append(body, p.event...), append(open, p)
	}
	body = append(body, ']')
	var answer struct {
		Data []apiclient.Item[apiclient.Result] `json:"data"`
	}
	err = b.client.PostRaw(ctx, "/v1/events/batch", "application/json", body, &answer)
	if errors.As(err, &later) && later.Later() {
		return later, nil
	}
	if err != nil {
		return nil, err
	}
	if len(answer.Data) != len(open) {
		return nil, fmt.Errorf("the server answered %d results for %d events", len(answer.Data), len(open))
	}
	for i := range answer.Data {
		if p := answer.Data[i].Value.Error; p.Later() {
			if later == nil {
				p.Detail = p.What()
				later = p
			}
			continue
		}
		open[i].result = &answer.Data[i]
		b.wait.idle = 0
	}
	return later, nil
}

// settle counts the results with which the batch begins, and takes them off it.
func (b *batchSender) settle() error {
	for len(b.pending) > 0 && b.pending[0].result != nil {
		b.before++
		if err := b.count(b.before, *b.pending[0].result); err != nil {
			return err
		}
		b.bar.Set(b.pending[0].end)
		b.pending = b.pending[1:]
	}
	return nil
}

// brokeOff says what was sent, and how to go on: with what is to be repaired first.
func (b *batchSender) brokeOff(why error, repair string) error {
	sent, behind := plural(b.before, "event"), ""
	if all := b.events.all(b.in); all > 0 {
		sent = fmt.Sprintf("%d of %s", b.before, plural(all, "event"))
	}
	if b.before > 0 {
		behind = fmt.Sprintf(" and --skip %d", b.before)
	}
	b.a.note("sent %s; %sgo on with the same command%s", sent, repair, behind)
	if apiclient.CodeOf(why) == "unreachable" && !errors.Is(why, syscall.ECONNREFUSED) && len(b.pending) > 0 {
		b.a.note("up to %d behind them may have been taken as well: those with an id of their own can be sent again",
			len(b.pending))
	}
	taken := 0
	for i, p := range b.pending {
		if p.result == nil {
			continue
		}
		taken++
		if err := b.count(b.before+i+1, *p.result); err != nil {
			return err
		}
	}
	if taken > 0 {
		b.a.note("%d behind them were answered as well: those with an id of their own can be sent again", taken)
	}
	return nil
}

// count counts the result of the nth event.
func (b *batchSender) count(n int, r apiclient.Item[apiclient.Result]) error {
	b.sum.Sent++
	r.Value.N = n
	b.sum.Deliveries += len(r.Value.Deliveries)
	switch {
	case r.Value.Error != nil:
		b.sum.Refused++
		if b.sum.Refused <= maxComplaints {
			b.bar.Note(b.a.err, fmt.Sprintf("event %d: %s", n, output.Clean(r.Value.Error.Error())))
		}
	case r.Value.Duplicate:
		b.sum.Duplicates++
	default:
		b.sum.Accepted++
	}
	if b.a.printer.Format == output.Table {
		return nil
	}
	return b.results.Add(r.Raw, r.Value)
}

// finish prints what was asked for: each result, or in a table the sum.
func (b *batchSender) finish() error {
	if b.sum.Refused > maxComplaints {
		b.a.note("... and %d more were refused", b.sum.Refused-maxComplaints)
	}
	if b.wait.times > 1 {
		b.a.note("waited %d times, %s in all", b.wait.times, b.wait.total)
	}
	var err error
	if b.a.printer.Format == output.Table {
		err = printOne(b.a, []output.Column[summary]{
			column("sent", func(s summary) string { return output.Int(s.Sent) }),
			column("accepted", func(s summary) string { return output.Int(s.Accepted) }),
			column("duplicates", func(s summary) string { return output.Int(s.Duplicates) }),
			column("refused", func(s summary) string { return output.Int(s.Refused) }),
			column("deliveries", func(s summary) string { return output.Int(s.Deliveries) }),
		}, b.sum)
	} else {
		err = b.results.Close()
	}
	if err == nil && b.sum.Refused > 0 {
		return errReported
	}
	return err
}

// errInterrupted ends what Ctrl-C, or another signal, broke off.
var errInterrupted = errors.New("interrupted before all was sent")

// waiting is for a server that takes no more for now.
type waiting struct {
	atMost time.Duration // in a row, without an event taken
	idle   time.Duration // in a row, so far
	times  int
	total  time.Duration
	said   string // the code that a line was printed for
}

// out waits as long as the server said, and says why; it fails with what the server said if that is too long.
func (w *waiting) out(ctx context.Context, a *app, bar *output.Progress, later *apiclient.Problem) error {
	after := later.RetryAfter()
	if after == 0 || w.idle+after > w.atMost {
		return later
	}
	w.idle, w.times, w.total = w.idle+after, w.times+1, w.total+after
	says := fmt.Sprintf("waiting %s: %s", after, output.Clean(later.What()))
	if !bar.Say(says) && w.said != later.Code {
		w.said = later.Code
		a.note("%s", says)
	}
	defer bar.Say("")
	if a.pause(ctx, after) != nil {
		return errInterrupted
	}
	return nil
}
