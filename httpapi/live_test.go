package httpapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// allowed lets everything out.
func allowed() error { return nil }

// keyTable is a directory that has one key, or none, and the ledger's every record.
type keyTable struct {
	Directory
	key atomic.Pointer[domain.APIKey]
}

func (d *keyTable) Key([32]byte) (*domain.APIKey, bool) {
	k := d.key.Load()
	return k, k != nil
}

func (d *keyTable) WaitFor(context.Context, domain.Position) error { return nil }

// rest reads a stream to its end, and gives its records and its comments.
func (e *sse) rest() (data, comments []string) {
	e.t.Helper()
	for e.body.Scan() {
		if text, ok := strings.CutPrefix(e.body.Text(), "data: "); ok {
			data = append(data, text)
		}
		if text, ok := strings.CutPrefix(e.body.Text(), ": "); ok {
			comments = append(comments, text)
		}
	}
	if err := e.body.Err(); err != nil {
		e.t.Errorf("the stream was broken off: %v", err)
	}
	return data, comments
}

// TestALiveStreamEndsWithItsKey: revoked, or expired, the key of an open stream gives nothing of what comes afterwards,
// and the stream ends by itself.
func TestALiveStreamEndsWithItsKey(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/records?type=EventReceived", "/v1/feed",
		"/v1/records?stream=tenant-default.default"} {
		for _, how := range []string{"revoked", "expired"} {
			t.Run(how+" "+path, func(t *testing.T) {
				t.Parallel()
				s, now := newClockedStack(t)
				admin := s.key("default", domain.RoleAdmin)
				k := into[APIKey](s.call(admin, "POST", "/v1/api-keys", map[string]any{"role": "auditor",
					"expires_at": s.api.Now().Add(time.Hour)}).want(201, ""))
				stream, stop := s.events(k.Key, path)
				defer stop()
				if how == "revoked" {
					s.call(admin, "DELETE", "/v1/api-keys/"+k.ID, nil).want(204, "")
				} else {
					now.Add(int64(time.Hour))
				}
				s.call(admin, "POST", "/v1/events", example("secret")).want(202, "")
				data, comments := stream.rest()
				if all := strings.Join(data, "\n"); strings.Contains(all, "secret") {
					t.Errorf("it got what came afterwards: %s", all)
				}
				if len(comments) == 0 || !strings.Contains(comments[len(comments)-1], "has expired or was revoked") {
					t.Errorf("it does not say why it ends: %q", comments)
				}
				s.call(k.Key, "GET", path, nil, "Accept", "text/event-stream").want(401, "invalid_api_key")
			})
		}
	}
}

// TestAnIdleStreamEndsWhenItsKeyIsRevoked: nothing else needs to come.
func TestAnIdleStreamEndsWhenItsKeyIsRevoked(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.key("default", domain.RoleAdmin)
	k := into[APIKey](s.call(admin, "POST", "/v1/api-keys", map[string]any{"role": "auditor"}).want(201, ""))
	stream, stop := s.events(k.Key, "/v1/feed")
	defer stop()
	s.call(admin, "DELETE", "/v1/api-keys/"+k.ID, nil).want(204, "")
	data, comments := stream.rest()
	if len(data) > 1 || len(comments) != 1 { // the first says where it begins; it does not wait for the next sign of life
		t.Errorf("%q %q", data, comments)
	}
}

// TestAQuietStreamEndsWhenItsKeyExpires: at that moment, though nothing comes.
func TestAQuietStreamEndsWhenItsKeyExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		key := &domain.APIKey{ID: "key_1", Tenant: "default", Role: domain.RoleAuditor,
			ExpiresAt: begin.Add(20 * time.Second)}
		d := &keyTable{}
		d.key.Store(key)
		a := &api{Config: Config{Store: quietStore{}, Now: time.Now}, Directory: d}
		c := &caller{key: key, hash: sha256.Sum256(nil), route: routeOf("list-records"), tenant: "default"}
		w := &recorder{header: http.Header{}}
		r, err := http.NewRequestWithContext(t.Context(), "GET", "/v1/records", nil)
		if err != nil {
			t.Fatal(err)
		}
		a.stream(w, r, c, &recordsQuery{recordFilter: recordFilter{tenant: "default"}, live: true}, appendSSE)
		if after := time.Since(begin); after != 20*time.Second {
			t.Errorf("it ended after %s", after)
		}
		if n := strings.Count(w.String(), ": still here\n\n"); n != 1 ||
			!strings.HasSuffix(w.String(), errBadKey.Detail+"\n\n") {
			t.Errorf("%q", w.String())
		}
		// A role that does not allow it any more ends it, too.
		w = &recorder{header: http.Header{}}
		d.key.Store(&domain.APIKey{ID: "key_1", Tenant: "default", Role: domain.RoleProducer})
		a.stream(w, r, c, &recordsQuery{recordFilter: recordFilter{tenant: "default"}, live: true}, appendSSE)
		if strings.Contains(w.String(), "hookledger records") {
			t.Errorf("%q", w.String())
		}
	})
}

// endingStore is a store whose server ends when its records were read; they are more than one write takes.
type endingStore struct {
	ledger.Store
	end context.CancelFunc // nil: it does not end
}

func (s *endingStore) ReadAll(ctx context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		if s.end == nil {
			s.Store.ReadAll(ctx, after)(yield)
			return
		}
		for range 200 {
			for r, err := range s.Store.ReadAll(ctx, after) {
				if !yield(r, err) {
					return
				}
			}
		}
		s.end()
		yield(nil, ctx.Err())
	}
}

// TestAnExportThatIsCutIsNoWholeOne: when the server ends meanwhile, who copies the ledger, or its events, sees that
// there is more; a live stream, which is taken up again, ends in order.
func TestAnExportThatIsCutIsNoWholeOne(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/records", "/v1/feed?after=1"} {
		for accept, want := range map[string]error{"application/x-ndjson": io.ErrUnexpectedEOF, "text/event-stream": nil} {
			t.Run(path+" "+accept, func(t *testing.T) {
				t.Parallel()
				store := &endingStore{}
				s := newStack(t, func(c *Config) { store.Store, c.Store = c.Store, store })
				key := s.key("default", domain.RoleAdmin)
				s.call(key, "POST", "/v1/events", example("")).want(202, "")
				ctx, end := context.WithCancel(t.Context())
				store.end = end
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s.api.mux.ServeHTTP(w, r.WithContext(ctx))
				}))
				defer srv.Close()
				req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+key)
				req.Header.Set("Accept", accept)
				resp, err := srv.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				all, err := io.ReadAll(resp.Body)
				if resp.StatusCode != http.StatusOK || !errors.Is(err, want) || len(all) == 0 {
					t.Errorf("%s, %d bytes, then %v", resp.Status, len(all), err)
				}
				if strings.Contains(s.log.String(), "reading records failed") {
					t.Error("an end in order is told as a failure")
				}
			})
		}
	}
}

// behindTable is a directory whose table of keys follows the ledger no more.
type behindTable struct{ keyTable }

func (*behindTable) WaitFor(ctx context.Context, _ domain.Position) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestALiveStreamDoesNotWaitLongForTheKeys: where their table does not follow, records that are there go out; each turn
// asks for a second whether the key still lets them.
func TestALiveStreamDoesNotWaitLongForTheKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		a := &api{Config: Config{Store: hasOne{}, Now: time.Now}, Directory: &behindTable{}}
		w := &recorder{header: http.Header{}}
		asked := 0
		out := newStreamWriter(w, func() error { asked++; return nil })
		if err := a.awaitRecords(ctx, &caller{key: &domain.APIKey{}}, out, &recordsQuery{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != tableWithin || asked != 1 || w.Len() > 0 {
			t.Errorf("after %s, asked %d times: %q", took, asked, w.String())
		}
	})
}

// TestStreamsAreKnown: those routes that the document says answer with server-sent events.
func TestStreamsAreKnown(t *testing.T) {
	t.Parallel()
	for i := range routes {
		rt := &routes[i]
		ok := theDocument().at("paths", rt.path, strings.ToLower(rt.method), "responses", "200", "content",
			"text/event-stream")
		if IsStream(rt.path) != (ok != nil) {
			t.Errorf("%s is a stream: %v", rt.id, ok != nil)
		}
	}
}
