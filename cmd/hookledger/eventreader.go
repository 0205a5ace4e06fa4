package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"hookledger/domain"
)

// eventReader reads JSON objects that stand one after the other, or in one array.
type eventReader struct {
	dec   *json.Decoder
	array bool
	n     int // events that were read
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

// errOpenArray ends an input that is whole but for its last bracket, or that was cut off between two events.
var errOpenArray = usage("the array of events does not end", "close it with ]")

// next gives the next event exactly as it stands, and io.EOF behind the last.
func (r *eventReader) next() ([]byte, error) {
	if r.array && !r.dec.More() {
		_, err := r.dec.Token()
		switch {
		case err == nil:
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			return nil, errOpenArray
		}
		return nil, r.malformed(err)
	}
	var raw json.RawMessage
	err := r.dec.Decode(&raw)
	if errors.Is(err, io.EOF) && !r.array {
		return nil, io.EOF
	}
	if err != nil {
		return nil, r.malformed(err)
	}
	r.n++
	return raw, nil
}

func (r *eventReader) malformed(err error) error {
	return usage(fmt.Sprintf("event %d is no JSON: %v", r.n+1, err), "write one JSON object a line, or an array of them")
}

// behind leaves out n events, and gives the next one.
func (r *eventReader) behind(n int) ([]byte, error) {
	for range n {
		if _, err := r.next(); err != nil {
			return nil, err
		}
	}
	return r.next()
}

func (r *eventReader) offset() int64 { return r.dec.InputOffset() }

// maxCounted bounds what is read of a file to count the events that were not sent.
const maxCounted = 64 << 20

// all reads on to count the events, if they stand in a file that is not too long for it; else it gives 0.
func (r *eventReader) all(in any) int {
	total := size(in)
	if total == 0 || total-r.offset() > maxCounted {
		return 0
	}
	for {
		if _, err := r.next(); errors.Is(err, io.EOF) {
			return r.n
		} else if err != nil {
			return 0
		}
	}
}

// withID gives an event that has no id one, so that it can be repeated where its answer got lost or said to come later.
// What is no event is left for the server to refuse.
func withID(event []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(event, &fields) != nil || len(fields) == 0 || fields["id"] != nil {
		return event
	}
	return append([]byte(`{"id":"`+domain.NewID(domain.PrefixEvent, newID())+`",`), event[1:]...)
}

// size of a file that is read as a stream; 0 where nobody knows.
func size(in any) int64 {
	f, ok := in.(*os.File)
	if !ok {
		return 0
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}
