package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/pebblestore"
	"hookledger/vault"
)

// benchBacklog is one endpoint's list of due deliveries, done when all are.
type benchBacklog struct {
	mu      sync.Mutex
	changed chan struct{}
	due     []domain.Due
	left    sync.WaitGroup
}

func (b *benchBacklog) Changed() <-chan struct{} { return b.changed }

func (b *benchBacklog) Activate(time.Time) ([]domain.EndpointKey, time.Time) {
	return []domain.EndpointKey{{Tenant: "default", Endpoint: "ep"}}, time.Time{}
}

func (b *benchBacklog) Take(domain.EndpointKey, time.Time) (domain.Due, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.due) == 0 {
		return domain.Due{}, false
	}
	d := b.due[0]
	b.due = b.due[1:]
	return d, true
}

func (b *benchBacklog) TakeFresh(ep domain.EndpointKey, now time.Time) (domain.Due, bool, bool) {
	d, ok := b.Take(ep, now)
	return d, false, ok
}

func (b *benchBacklog) Return(domain.Due, time.Time) { panic("returned") }
func (b *benchBacklog) Done(domain.Due)              { b.left.Done() }
func (b *benchBacklog) Standing(domain.EndpointKey, string) (domain.Standing, bool) {
	panic("asked for a standing")
}

// oneBody gives every event the same body.
type oneBody domain.EventBody

func (o *oneBody) Event(context.Context, string, string) (domain.EventBody, error) {
	return domain.EventBody(*o), nil
}

func benchBody() []byte {
	return fmt.Appendf(nil, `{"id":"evt_01","event":"cron.completed","timestamp":"2026-11-23T20:00:00Z","data":{"x":%q}}`,
		bytes.Repeat([]byte("x"), 250))
}

// benchReceiver answers as fast as net/http can.
func benchReceiver(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})}
	go func() { _ = srv.Serve(l) }()
	b.Cleanup(func() { _ = srv.Close() })
	return "http://" + l.Addr().String() + "/hook"
}

// BenchmarkDeliver delivers a backlog through the Router.
func BenchmarkDeliver(b *testing.B) {
	instant := fakeTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 204, Header: http.Header{"Date": {"Mon, 23 Nov 2026 20:00:00 GMT"}},
			Body: http.NoBody}, nil
	})
	for _, bm := range []struct {
		name  string
		store func(*testing.B) ledger.Store
		wire  http.RoundTripper
	}{
		{"memory/instant", func(*testing.B) ledger.Store { return newMemStore() }, instant},
		{"memory/loopback", func(*testing.B) ledger.Store { return newMemStore() }, nil},
		{"pebble-memfs/instant", func(b *testing.B) ledger.Store { return pebble(b, "/ledger", vfs.NewMem()) }, instant},
		{"pebble-memfs/loopback", func(b *testing.B) ledger.Store { return pebble(b, "/ledger", vfs.NewMem()) }, nil},
		{"pebble-disk/loopback", func(b *testing.B) ledger.Store { return pebble(b, b.TempDir(), nil) }, nil},
	} {
		b.Run(bm.name, func(b *testing.B) {
			v, err := vault.Open(vault.Config{Dir: "/vault", FS: vfs.NewMem(), LedgerID: "led",
				Master: domain.NewSecret("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")})
			if err != nil {
				b.Fatal(err)
			}
			defer v.Close()
			signing, _, err := v.NewSigningSecret(b.Context(), "default")
			if err != nil {
				b.Fatal(err)
			}
			dk, err := v.DataKey(b.Context(), vault.Scope{Tenant: "default", Type: "cron.completed", At: time.Now()})
			if err != nil {
				b.Fatal(err)
			}
			backlog := &benchBacklog{changed: make(chan struct{}, 1)}
			w := newWorld(b, func(c *Config) {
				c.Store, c.Backlog, c.Vault = bm.store(b), backlog, v
				c.Bodies = &oneBody{Body: benchBody(), KeyID: dk, Received: &domain.EventReceived{}}
			})
			w.endpoint("ep", benchReceiver(b))
			w.house.change("ep", func(e *domain.Endpoint) {
				e.Config.Signing = signing
				e.Config.Content, err = v.Seal(b.Context(), dk, vault.Place{Tenant: "default",
					Stream: domain.EndpointStream("default", "ep"), Record: e.ConfigRecord, Type: e.ConfigType},
					[]byte(`{"path":"/hook"}`))
			})
			if err != nil {
				b.Fatal(err)
			}
			if bm.wire != nil {
				w.d.sender.transport = bm.wire
			}
			now := time.Now()
			for i := range b.N {
				event := "evt_" + strconv.Itoa(i)
				received := now.Add(time.Duration(i) * 100 * time.Microsecond) // as if they came at 10,000 a second
				backlog.due = append(backlog.due, domain.Due{Tenant: "default", Endpoint: "ep", Event: event, DueAt: now,
					Revision: domain.NoStream, Delivery: domain.DeliveryID(received, "default", event, "ep", "routed")})
			}
			backlog.left.Add(b.N)
			b.ReportAllocs()
			b.ResetTimer()
			start := cpuTime(b)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			backlog.changed <- struct{}{}
			go func() { done <- w.d.Run(ctx) }()
			backlog.left.Wait()
			b.StopTimer()
			report(b, start, "deliveries/s")
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// cpuTime is what this process has used, receiver included: unlike the time that passed, it says something on a machine
// that others use too.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, start time.Duration, unit string) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), unit)
	b.ReportMetric(float64((cpuTime(b)-start).Microseconds())/float64(b.N), "cpu-us/op")
}

func pebble(b *testing.B, dir string, fs vfs.FS) ledger.Store {
	s, err := pebblestore.Open(pebblestore.Config{Dir: dir, FS: fs})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// BenchmarkBare is the yardstick: net/http alone, with the HMAC, on keep-alive connections.
func BenchmarkBare(b *testing.B) {
	for _, conns := range []int{16, 64, 128} {
		b.Run(strconv.Itoa(conns), func(b *testing.B) {
			url, body := benchReceiver(b), benchBody()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns, DisableCompression: true}}
			defer client.CloseIdleConnections()
			b.ReportAllocs()
			b.ResetTimer()
			start := cpuTime(b)
			var wg sync.WaitGroup
			for c := range conns {
				wg.Go(func() {
					for range b.N/conns + min(1, max(0, b.N%conns-c)) {
						req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
						if err != nil {
							b.Error(err)
							return
						}
						ts := time.Now().Unix()
						req.Header.Set("Content-Type", "application/json")
						req.Header.Set(domain.HeaderWebhookID, "evt_1")
						req.Header.Set(domain.HeaderWebhookTimestamp, strconv.FormatInt(ts, 10))
						req.Header.Set(domain.HeaderWebhookSignature, domain.Sign([][]byte{testKey}, "evt_1", ts, body))
						resp, err := client.Do(req)
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			report(b, start, "requests/s")
		})
	}
}
