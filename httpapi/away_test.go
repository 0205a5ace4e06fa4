package httpapi

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// awayStore can't be reached while it is away.
type awayStore struct {
	ledger.Store
	away *atomic.Bool
}

func (s awayStore) refuse() error {
	return fmt.Errorf("esdb://db.internal:2113: %w", ledger.ErrUnavailable)
}

func (s awayStore) ReadAll(ctx context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	if s.away.Load() {
		return func(yield func(*domain.Record, error) bool) { yield(nil, s.refuse()) }
	}
	return s.Store.ReadAll(ctx, after)
}

func (s awayStore) ReadStream(ctx context.Context, stream domain.Stream,
	from domain.Revision) iter.Seq2[*domain.Record, error] {
	if s.away.Load() {
		return func(yield func(*domain.Record, error) bool) { yield(nil, s.refuse()) }
	}
	return s.Store.ReadStream(ctx, stream, from)
}

func (s awayStore) Append(ctx context.Context, stream domain.Stream, at domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	if s.away.Load() {
		return ledger.Appended{}, s.refuse()
	}
	return s.Store.Append(ctx, stream, at, records)
}

// While the ledger can't be reached every request gets a 503 that says so, when to come again and what to do, and names
// nothing of ours; afterwards all goes on.
func TestWhileTheLedgerIsAway(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	s := newStack(t, func(c *Config) { c.Store = awayStore{c.Store, &away} })
	key := s.key("default", domain.RoleAdmin)
	endpoint := map[string]any{"url": "https://example.com/hook", "event_types": []string{"*"}}
	away.Store(true)
	for path, body := range map[string]any{"POST /v1/endpoints": endpoint, "GET /v1/records": nil} {
		method, route, _ := strings.Cut(path, " ")
		got := s.call(key, method, route, body).want(http.StatusServiceUnavailable, "unavailable")
		if got.header.Get("Retry-After") == "" || !strings.Contains(string(got.body), "repeat the request") ||
			strings.Contains(string(got.body), "internal:2113") {
			t.Errorf("%s: Retry-After %q, %s", path, got.header.Get("Retry-After"), got.body)
		}
	}
	away.Store(false)
	s.call(key, "POST", "/v1/endpoints", endpoint).want(http.StatusCreated, "")
	if got := lines(s.call(key, "GET", "/v1/records?type=EndpointRegistered", nil).want(200, "")); len(got) != 1 {
		t.Errorf("%d endpoints on the ledger", len(got))
	}
}

// noPosition is a store that can't read from any position but its own.
type noPosition struct{ ledger.Store }

func (s noPosition) ReadAll(ctx context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	if after > 0 && after < s.Head() {
		return func(yield func(*domain.Record, error) bool) {
			yield(nil, fmt.Errorf("%w: %w", ledger.ErrPosition, domain.Refuse(domain.KindInvalid, "unknown_position",
				"no record stands there", "take the position from a record")))
		}
	}
	return s.Store.ReadAll(ctx, after)
}

// A position that is no record's is the client's mistake, and is said so, be the stream live or not.
func TestAPositionThatIsNoRecordsIsRefused(t *testing.T) {
	t.Parallel()
	s := newStack(t, func(c *Config) { c.Store = noPosition{c.Store} })
	key := s.key("default", domain.RoleAdmin)
	s.call(key, "GET", "/v1/records?after=1", nil).want(http.StatusBadRequest, "unknown_position")
	s.call(key, "GET", "/v1/records?after=1", nil, "Accept", "text/event-stream").want(http.StatusBadRequest,
		"unknown_position")
}

// hasOne is a store with one record, which is always ready to be read.
type hasOne struct{ quietStore }

func (hasOne) Wait(context.Context, domain.Position) error { return nil }

func (hasOne) ReadAll(_ context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		if after == 0 {
			yield(&domain.Record{Stream: "tenant-default.default", Position: 7, Tenant: "default",
				Fact: &domain.TenantRegistered{Name: "default"}}, nil)
		}
	}
}

// A live stream outlasts the ledger's absence, and goes on where it was.
func TestALiveStreamOutlastsTheLedgersAbsence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		time.AfterFunc(2500*time.Millisecond, func() { away.Store(false) })
		a := &api{Config: Config{Store: awayStore{hasOne{}, &away}, Now: time.Now}, Directory: &keyTable{}}
		w := &recorder{header: http.Header{}}
		q := &recordsQuery{recordFilter: recordFilter{tenant: "default"}, live: true, limit: 1}
		out := newStreamWriter(w, allowed)
		if err := a.follow(t.Context(), &caller{key: &domain.APIKey{}}, out, q, appendSSE); err != nil {
			t.Fatal(err)
		}
		if err := out.end(); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(w.String(), "not available for now"); n != 3 || strings.Count(w.String(), "\nid: 7\n") != 1 {
			t.Errorf("%d times away, and %q", n, w.String())
		}
	})
}
