package httpapi

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
)

// instantIngest accepts everything at once: what is measured is the API alone.
type instantIngest struct{ Ingest }

func (instantIngest) Post(_ context.Context, p ingest.Post) (*ingest.Receipt, error) {
	const id = "01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"
	return &ingest.Receipt{ID: "evt_" + id, Event: p.Event, Timestamp: time.Unix(1, 0), Position: 12345,
		Deliveries: []domain.Match{{Delivery: "dlv_" + id, Endpoint: "ep_" + id}}}, nil
}

// oneKey is a directory with one key.
type oneKey struct {
	Directory
	hash [32]byte
	key  *domain.APIKey
}

func (d *oneKey) Key(h [32]byte) (*domain.APIKey, bool) { return d.key, h == d.hash }

const benchKey = "hl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func benchAPI(b *testing.B) http.Handler {
	a, err := build(Config{Store: struct{ ledger.Store }{}, Vault: struct{ Vault }{}, Ingest: instantIngest{},
		Projections: noProjections{}, Now: time.Now, NewID: ulid.Make})
	if err != nil {
		b.Fatal(err)
	}
	a.Directory = &oneKey{hash: sha256.Sum256([]byte(benchKey)), key: &domain.APIKey{ID: "key_1", Tenant: "default",
		Role: domain.RoleProducer}}
	return a.mux
}

const benchBody = `{"event":"agent.status_changed","data":{"agentId":"agent_atlas","from":"online","to":"offline",` +
	`"reason":"no heartbeat for 90 s","observedBetween":["2026-03-17T07:59:14Z","2026-03-17T08:00:44Z"],` +
	`"note":"the quick brown fox jumps over the lazy dog, and then some more to come to 350 bytes in all, ok"}}`

// BenchmarkPostHandler is the handler alone: authentication, counting, parsing, answer.
func BenchmarkPostHandler(b *testing.B) {
	h := benchAPI(b)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), "POST", "/v1/events", strings.NewReader(benchBody))
		r.Header.Set("Authorization", "Bearer "+benchKey)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 202 {
			b.Fatal(w.Code, w.Body)
		}
	}
}

// BenchmarkPostLoopback is the API behind a real server on 32 keep-alive connections, in the same process as a client
// that costs as little as one can: cpu-us/op is of both.
func BenchmarkPostLoopback(b *testing.B) {
	srv := httptest.NewServer(benchAPI(b))
	b.Cleanup(srv.Close)
	request := []byte("POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + benchKey +
		"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(benchBody)) + "\r\n\r\n" + benchBody)
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	before := cpu()
	b.ResetTimer()
	for range 32 {
		wg.Go(func() {
			if err := pump(b.Context(), srv.Listener.Addr().String(), request, &left); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "posts/s")
	runtime.KeepAlive(srv)
}

// pump sends requests over one connection while there are any left.
func pump(ctx context.Context, addr string, request []byte, left *atomic.Int64) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for left.Add(-1) >= 0 {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		length := 0
		for first := true; ; first = false {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if first && !strings.HasPrefix(line, "HTTP/1.1 202") {
				return fmt.Errorf("answered %s", line)
			}
			if n, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				if length, err = strconv.Atoi(strings.TrimSpace(n)); err != nil {
					return err
				}
			}
			if line == "\r\n" {
				break
			}
		}
		if _, err := io.CopyN(io.Discard, r, int64(length)); err != nil {
			return err
		}
	}
	return nil
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
