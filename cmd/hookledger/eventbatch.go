package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

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

// batchSender sends the events of a file.
type batchSender struct {
	a       *app
	client  *apiclient.Client
	results *output.List[apiclient.Result]
	sum     summary
	pending [][]byte
	bytes   int
	max     int
}

// sendFile sends what a file, or stdin for "-", holds: one event as such, several in batches.
func (a *app) sendFile(ctx context.Context, c *apiclient.Client, s *sending, name string) error {
	if s.batch < 1 || s.batch > maxBatch {
		return usage("--batch is out of range", "give 1 to 1000")
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
	first, err := events.next()
	if errors.Is(err, io.EOF) {
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
	b := &batchSender{a: a, client: c, max: s.batch, results: output.NewList(a.printer, batchColumns())}
	return b.run(ctx, events, output.NewBytes(a.err, "sending", size(in)), first, second, err)
}

// run sends the two events that were read already, and the rest. err is what reading the second one gave.
func (b *batchSender) run(ctx context.Context, events *eventReader, bar *output.Progress, first, second []byte,
	err error) error {
	sendErr := b.add(ctx, first)
	for next := second; sendErr == nil && err == nil; next, err = events.next() {
		if sendErr = b.add(ctx, next); sendErr == nil {
			bar.Set(events.offset())
		}
	}
	if sendErr == nil {
		sendErr = b.flush(ctx)
	}
	bar.Done()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(sendErr, err); err != nil {
		b.a.note("events sent before it broke off: %d; go on behind them", b.sum.Sent)
	}
	return errors.Join(err, b.finish())
}

func (b *batchSender) add(ctx context.Context, event []byte) error {
	if len(b.pending) == b.max || b.bytes+len(event) > maxBatchBytes && len(b.pending) > 0 {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	b.pending, b.bytes = append(b.pending, event), b.bytes+len(event)
	return nil
}

func (b *batchSender) flush(ctx context.Context) error {
	if len(b.pending) == 0 {
		return nil
	}
	body := make([]byte, 0, b.bytes+len(b.pending)+2)
	body = append(body, '[')
	for i, e := range b.pending {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e...)
	}
	body = append(body, ']')
	var answer struct {
		Data []apiclient.Item[apiclient.Result] `json:"data"`
	}
	if err := b.client.PostRaw(ctx, "/v1/events/batch", "application/json", body, &answer); err != nil {
		return err
	}
	if len(answer.Data) != len(b.pending) {
		return fmt.Errorf("the server answered %d results for %d events", len(answer.Data), len(b.pending))
	}
	for _, r := range answer.Data {
		if err := b.count(r); err != nil {
			return err
		}
	}
	b.pending, b.bytes = b.pending[:0], 0
	return nil
}

func (b *batchSender) count(r apiclient.Item[apiclient.Result]) error {
	b.sum.Sent++
	r.Value.N = b.sum.Sent
	b.sum.Deliveries += len(r.Value.Deliveries)
	switch {
	case r.Value.Error != nil:
		b.sum.Refused++
		if b.sum.Refused <= maxComplaints {
			b.a.note("event %d: %s", b.sum.Sent, output.Clean(r.Value.Error.Error()))
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

// eventReader reads JSON objects that stand one after the other, or in one array.
type eventReader struct {
	dec   *json.Decoder
	array bool
	n     int
}

func newEventReader(in io.Reader) (*eventReader, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	for {
		c, err := buffered.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the events: %w", err)
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			if err := buffered.UnreadByte(); err != nil {
				return nil, fmt.Errorf("read the events: %w", err)
			}
			r := &eventReader{dec: json.NewDecoder(buffered), array: c == '['}
			if r.array {
				_, _ = r.dec.Token() // the bracket that was seen
			}
			return r, nil
		}
	}
	return &eventReader{dec: json.NewDecoder(buffered)}, nil
}

// next gives the next event exactly as it stands, and io.EOF behind the last.
func (r *eventReader) next() ([]byte, error) {
	if r.array && !r.dec.More() {
		if _, err := r.dec.Token(); err != nil {
			return nil, usage("the array of events does not end", "close it with ]")
		}
		return nil, io.EOF
	}
	var raw json.RawMessage
	err := r.dec.Decode(&raw)
	if errors.Is(err, io.EOF) && !r.array {
		return nil, io.EOF
	}
	r.n++
	if err != nil {
		return nil, usage(fmt.Sprintf("event %d is no JSON: %v", r.n, err),
			"write one JSON object a line, or an array of them")
	}
	return raw, nil
}

func (r *eventReader) offset() int64 { return r.dec.InputOffset() }
