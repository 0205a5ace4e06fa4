package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// Record is a record as shown. Content in data is sealed, and stays so.
type Record struct {
	ID            string          `json:"record_id" example:"01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Type          string          `json:"type" example:"EventReceived"`
	Version       int             `json:"version" doc:"Of the type's shape."`
	Stream        string          `json:"stream" example:"event-default.evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Revision      domain.Revision `json:"revision" doc:"Place in the stream, from 0."`
	Position      domain.Position `json:"position" doc:"Place on the ledger; ordered, not dense."`
	RecordedAt    time.Time       `json:"recorded_at"`
	Tenant        string          `json:"tenant"`
	CausationID   string          `json:"causation_id,omitempty" doc:"The record that caused this one."`
	Actor         domain.Actor    `json:"actor"`
	CorrelationID string          `json:"correlation_id,omitempty" doc:"The event that it is about."`
	Data          JSONObject      `json:"data" doc:"What happened; its shape is the type's."`
}

// appendRecord writes a record as Record has it, on one line.
func appendRecord(b []byte, r *domain.Record) ([]byte, error) {
	b = append(b, `{"record_id":"`...)
	b = append(b, r.ID.String()...)
	b = append(b, `","type":"`...)
	b = append(b, r.Fact.RecordType()...)
	b = append(b, `","version":`...)
	b = strconv.AppendInt(b, int64(r.Fact.RecordVersion()), 10)
	b = append(b, `,"stream":"`...)
	b = append(b, r.Stream...)
	b = append(b, `","revision":`...)
	b = strconv.AppendInt(b, int64(r.Revision), 10)
	b = append(b, `,"position":`...)
	b = strconv.AppendUint(b, uint64(r.Position), 10)
	b = append(b, `,"recorded_at":"`...)
	b = r.RecordedAt.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","tenant":"`...)
	b = append(b, r.Tenant...)
	b = append(b, `",`...)
	if r.Causation != (ulid.ULID{}) {
		b = append(b, `"causation_id":"`...)
		b = append(b, r.Causation.String()...)
		b = append(b, `",`...)
	}
	b = append(b, `"actor":{"kind":`...)
	b, err := jsontext.AppendQuote(b, r.Actor.Kind)
	if err != nil {
		return b, err
	}
	b = append(b, `,"id":`...)
	if b, err = jsontext.AppendQuote(b, r.Actor.ID); err != nil {
		return b, err
	}
	b = append(b, '}')
	if r.Correlation != "" {
		b = append(b, `,"correlation_id":`...)
		if b, err = jsontext.AppendQuote(b, r.Correlation); err != nil {
			return b, err
		}
	}
	return appendData(b, r)
}

// appendData takes ,"data":{...}} out of the record's canonical body, where it stands last. No string before it can
// hold that text: its quotes would be escaped.
func appendData(b []byte, r *domain.Record) ([]byte, error) {
	from := len(b)
	b, err := ledger.AppendBody(b, r)
	if err != nil {
		return b, err
	}
	at := bytes.Index(b[from:], []byte(`,"data":`))
	if at < 0 {
		return b, fmt.Errorf("record %s has no data in its canonical body", r.ID)
	}
	return append(b[:from], b[from+at:]...), nil
}

// recordFilter says which records of the ledger a reader gets.
type recordFilter struct {
	tenant string // AnyTenant: all
	stream domain.Stream
	types  []string // empty: all
}

func (f *recordFilter) takes(r *domain.Record) bool {
	if f.tenant != domain.AnyTenant && r.Tenant != f.tenant || f.stream != "" && r.Stream != f.stream {
		return false
	}
	for _, t := range f.types {
		if t == r.Fact.RecordType() {
			return true
		}
	}
	return len(f.types) == 0
}

// read yields the records behind a position that the filter lets through. One stream is read by itself.
func (a *api) read(ctx context.Context, f *recordFilter, after domain.Position) iter.Seq2[*domain.Record, error] {
	source := a.Store.ReadAll(ctx, after)
	if f.stream != "" {
		source = a.Store.ReadStream(ctx, f.stream, 0)
	}
	return func(yield func(*domain.Record, error) bool) {
		for r, err := range source {
			if err == nil && (r.Position <= after || !f.takes(r)) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// recordsQuery is what GET /v1/records was asked for.
type recordsQuery struct {
	recordFilter
	after domain.Position
	limit int // 0: none
	live  bool
	// preface begins a live stream; empty: a comment.
	preface string
}

func parseRecordsQuery(r *http.Request, c *caller) (*recordsQuery, error) {
	q := &recordsQuery{recordFilter: recordFilter{tenant: c.tenant}}
	q.live = strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	values := r.URL.Query()
	after := values.Get("after")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		after = id
	}
	if after != "" {
		n, err := strconv.ParseUint(after, 10, 64)
		if err != nil || n > math.MaxInt64 {
			return nil, badQuery("after (or Last-Event-ID) is no position: use the position of a record")
		}
		q.after = domain.Position(n)
	}
	if s := values.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1_000_000 {
			return nil, badQuery("limit is out of range: use 1 to 1000000, or none for all")
		}
		q.limit = n
	}
	if s := values.Get("stream"); s != "" {
		q.stream = domain.Stream(s)
		if !q.stream.Valid() || len(s) > 512 {
			return nil, badQuery("stream is no stream's name: use one such as event-default.evt_…")
		}
	}
	for _, t := range values["type"] {
		q.types = append(q.types, strings.Split(t, ",")...)
	}
	for _, t := range q.types {
		if err := checkRecordType(t); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// checkRecordType refuses a type that no record has: it would find nothing, and say nothing.
func checkRecordType(name string) error {
	known := ledger.RecordTypes()
	if slices.Contains(known, name) {
		return nil
	}
	fix := "use one such as EventReceived, as /openapi.json and docs/records.md list them"
	if i := slices.IndexFunc(known, func(t string) bool { return strings.EqualFold(t, name) }); i >= 0 {
		fix = "write it " + known[i]
	}
	return &fieldFault{"query.type", "there is no type of records " + strconv.Quote(shortened(name)), fix}
}

func badQuery(detail string) error {
	return newProblem(http.StatusBadRequest, "invalid_request", detail)
}

// recordTypes are the types of records, for the document.
func recordTypes() []any {
	var out []any
	for _, t := range ledger.RecordTypes() {
		out = append(out, t)
	}
	return out
}

// listRecords streams the ledger: as NDJSON up to its head, or, where the client accepts text/event-stream, on and on
// as server-sent events whose ids are positions.
func (a *api) listRecords(w http.ResponseWriter, r *http.Request, c *caller) {
	q, err := parseRecordsQuery(r, c)
	if err == nil {
		err = a.checkPosition(q.after)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if q.live {
		a.stream(w, r, c, q, appendSSE)
	} else {
		a.stream(w, r, c, q, appendNDJSON)
	}
}

// recordWriter writes a record for a stream, or nothing where it leaves it out.
type recordWriter func([]byte, *domain.Record) ([]byte, error)

// copyRecords writes what there is behind q.after, and moves it on. It says whether the limit was reached.
func (a *api) copyRecords(ctx context.Context, out *streamWriter, q *recordsQuery, write recordWriter) (bool, error) {
	for r, err := range a.read(ctx, &q.recordFilter, q.after) {
		if err != nil {
			return false, err
		}
		line, err := write(out.line[:0], r)
		if err != nil {
			return false, err
		}
		out.line = line
		if err := out.write(line); err != nil {
			return false, err
		}
		q.after = r.Position
		if q.limit > 0 {
			if q.limit--; q.limit == 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

func appendNDJSON(b []byte, r *domain.Record) ([]byte, error) {
	b, err := appendRecord(b, r)
	return append(b, '\n'), err
}

func appendSSE(b []byte, r *domain.Record) ([]byte, error) {
	b = append(b, "id: "...)
	b = strconv.AppendUint(b, uint64(r.Position), 10)
	b = append(b, "\nevent: "...)
	b = append(b, r.Fact.RecordType()...)
	b = append(b, "\ndata: "...)
	b, err := appendRecord(b, r)
	return append(b, "\n\n"...), err
}

func showRecord(r *domain.Record) (Record, error) {
	var shown Record
	b, err := appendRecord(nil, r)
	if err == nil {
		err = json.Unmarshal(b, &shown)
	}
	return shown, err
}
