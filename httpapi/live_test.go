package httpapi

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hookledger/domain"
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
