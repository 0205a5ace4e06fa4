package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// lines reads NDJSON.
func lines(a *answer) []Record {
	a.t.Helper()
	var out []Record
	for line := range bytes.Lines(a.body) {
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		var r Record
		if err := dec.Decode(&r); err != nil {
			a.t.Fatalf("%v: %s", err, line)
		}
		out = append(out, r)
	}
	return out
}

func TestRecordsAsNDJSON(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.tenant("acme")
	own, foreign := s.thingsOf("default"), s.thingsOf("acme")
	auditor := s.key("default", domain.RoleAuditor)
	got := s.call(auditor, "GET", "/v1/records", nil).want(200, "")
	if got.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("content type %s", got.header.Get("Content-Type"))
	}
	// Every record of the tenant, in order, whole; nothing of another's, nor of the platform's.
	var want []*domain.Record
	for r, err := range s.store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Tenant == "default" {
			want = append(want, r)
		}
	}
	all := lines(got)
	if len(all) != len(want) {
		t.Fatalf("%d records, want %d", len(all), len(want))
	}
	for i, r := range all {
		body, err := ledger.AppendBody(nil, want[i])
		if err != nil {
			t.Fatal(err)
		}
		var canonical struct{ Data json.RawMessage }
		if err := json.Unmarshal(body, &canonical); err != nil {
			t.Fatal(err)
		}
		if r.ID != want[i].ID.String() || r.Position != want[i].Position || r.Revision != want[i].Revision ||
			!r.RecordedAt.Equal(want[i].RecordedAt) || r.Actor != want[i].Actor || string(r.Data) != string(canonical.Data) {
			t.Errorf("record %d: %+v, want %+v", i, r, want[i])
		}
	}
	// Filters.
	middle := all[len(all)/2].Position
	after := lines(s.call(auditor, "GET", "/v1/records?after="+strconv.FormatUint(uint64(middle), 10), nil).want(200, ""))
	if len(after) != len(all)-len(all)/2-1 || after[0].Position <= middle {
		t.Errorf("%d records behind %d", len(after), middle)
	}
	stream := string(domain.DeliveryStream("default", own.delivery))
	of := lines(s.call(auditor, "GET", "/v1/records?stream="+stream+"&type=RequestSigned,DeliverySucceeded", nil).
		want(200, ""))
	if len(of) != 2 || of[0].Type != "RequestSigned" || of[1].Stream != stream {
		t.Errorf("of the delivery: %+v", of)
	}
	if n := len(lines(s.call(auditor, "GET", "/v1/records?limit=3", nil).want(200, ""))); n != 3 {
		t.Errorf("limit=3 gave %d", n)
	}
	stream = string(domain.DeliveryStream("acme", foreign.delivery))
	if n := len(lines(s.call(auditor, "GET", "/v1/records?stream="+stream, nil).want(200, ""))); n != 0 {
		t.Errorf("another tenant's stream gave %d records", n)
	}
	// A reader may stand at the end, and learns how a type is written.
	end := strconv.FormatUint(uint64(s.store.Head()), 10)
	if n := len(lines(s.call(auditor, "GET", "/v1/records?after="+end, nil).want(200, ""))); n != 0 {
		t.Errorf("%d records behind the end", n)
	}
	got = s.call(auditor, "GET", "/v1/records?type=eventreceived", nil).want(400, "invalid_request")
	if p := into[Problem](got); p.Fix != "write it EventReceived" {
		t.Errorf("%s", got.body)
	}
	// A platform key reads it all.
	root := s.key(platform, domain.RoleAuditor)
	everything := lines(s.call(root, "GET", "/v1/records", nil, HeaderTenant, "*").want(200, ""))
	if everything[0].Type != "LedgerCreated" || everything[len(everything)-1].Tenant != "*" {
		t.Errorf("all: %+v ... %+v", everything[0], everything[len(everything)-1])
	}
}

// sse reads server-sent events: ids and data.
type sse struct {
	t    *testing.T
	body *bufio.Scanner
}

func (s *stack) events(key, path string, headers ...string) (*sse, func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", s.srv.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.srv.Client().Do(req) //nolint:bodyclose // the function that is returned closes it
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("status %d, %v", resp.StatusCode, resp.Header)
	}
	return &sse{s.t, bufio.NewScanner(resp.Body)}, func() {
		cancel()
		_ = resp.Body.Close()
	}
}

func (e *sse) next() Record {
	e.t.Helper()
	id, event := "", ""
	for e.body.Scan() {
		switch name, value, _ := strings.Cut(e.body.Text(), ": "); name {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			var r Record
			if err := json.Unmarshal([]byte(value), &r); err != nil {
				e.t.Fatal(err)
			}
			if strconv.FormatUint(uint64(r.Position), 10) != id || r.Type != event {
				e.t.Fatalf("id %s, event %s for %+v", id, event, r)
			}
			return r
		}
	}
	e.t.Fatalf("the stream ended: %v", e.body.Err())
	return Record{}
}

// TestRecordsFollowLive: a stream gives what is there, then what comes; resumed with Last-Event-ID it neither repeats
// nor skips.
func TestRecordsFollowLive(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	stream, stop := s.events(key, "/v1/records?type=EventReceived,EventRouted")
	defer stop()
	var seen []Record
	post := func() {
		s.call(key, "POST", "/v1/events", example("")).want(202, "")
	}
	for range 3 {
		post()
		seen = append(seen, stream.next(), stream.next())
	}
	stop()
	for range 2 {
		post()
	}
	resumed, stopAgain := s.events(key, "/v1/records?type=EventReceived,EventRouted", "Last-Event-ID",
		strconv.FormatUint(uint64(seen[3].Position), 10))
	defer stopAgain()
	for i := range 6 {
		r := resumed.next()
		if i < 2 && r.ID != seen[4+i].ID {
			t.Fatalf("resumed at %+v, want %+v", r, seen[4+i])
		}
		seen = append(seen, r)
	}
	for i := 7; i < len(seen); i++ {
		if seen[i].Position <= seen[i-1].Position {
			t.Errorf("position %d behind %d", seen[i].Position, seen[i-1].Position)
		}
	}
}

// quietStore never has a record.
type quietStore struct{ ledger.Store }

func (quietStore) Head() domain.Position { return 0 }
func (quietStore) Wait(ctx context.Context, _ domain.Position) error {
	<-ctx.Done()
	return ctx.Err()
}

func (quietStore) ReadAll(context.Context, domain.Position) iter.Seq2[*domain.Record, error] {
	return func(func(*domain.Record, error) bool) {}
}

// TestQuietStreamSaysThatItIsThere: every 15 seconds, until the client or the server goes.
func TestQuietStreamSaysThatItIsThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &api{Config: Config{Store: quietStore{}, Now: time.Now}, Directory: &keyTable{}}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		defer cancel()
		w := &recorder{header: http.Header{}}
		all := &recordsQuery{recordFilter: recordFilter{tenant: "default"}}
		c := &caller{key: &domain.APIKey{}}
		if err := a.follow(ctx, c, newStreamWriter(w, allowed), all, appendSSE); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(w.String(), ": still here\n\n"); n != 3 {
			t.Errorf("%d signs of life in 50 s: %q", n, w.String())
		}
	})
}

// TestStreamLeavesNoDeadline: the connection serves other requests afterwards.
func TestStreamLeavesNoDeadline(t *testing.T) {
	t.Parallel()
	w := &recorder{header: http.Header{}}
	out := newStreamWriter(w, allowed)
	out.begin("application/x-ndjson")
	if err := errors.Join(out.write(make([]byte, 40<<10)), out.write([]byte("x"))); err != nil || w.deadline.IsZero() {
		t.Errorf("a stream without a deadline: %v", err)
	}
	if err := out.end(); err != nil || !w.deadline.IsZero() || w.Len() != 40<<10+1 {
		t.Errorf("after the end: %v, deadline %v, %d bytes", err, w.deadline, w.Len())
	}
}

type recorder struct {
	bytes.Buffer
	header   http.Header
	deadline time.Time
}

func (r *recorder) SetWriteDeadline(t time.Time) error {
	r.deadline = t
	return nil
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(int)     {}
func (r *recorder) Flush()              {}

// TestRecordOfAnUnknownType: what a newer binary wrote is handed on as it is.
func TestRecordOfAnUnknownType(t *testing.T) {
	t.Parallel()
	r := &domain.Record{ID: ulid.Make(), Stream: "event-default.x", RecordedAt: time.Unix(1, 0), Tenant: "default",
		Actor: domain.Actor{Kind: `k",` + `"data":{`, ID: "i"}, Correlation: `,"data":`,
		Fact: &domain.Unknown{Type: "FromTheFuture", Version: 3, Data: []byte(`{"a":[1,2]}`)}}
	shown, err := showRecord(r)
	if err != nil || string(shown.Data) != `{"a":[1,2]}` || shown.Type != "FromTheFuture" || shown.Version != 3 ||
		shown.Actor != r.Actor || shown.CorrelationID != r.Correlation {
		t.Errorf("%v %+v", err, shown)
	}
}
