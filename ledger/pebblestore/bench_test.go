package pebblestore

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// BenchmarkDeliveries does what 256 attempts in flight do to the ledger: a delivery is an append of three records, then
// one of two behind it; a follower reads along. It reports appends, records and CPU time.
func BenchmarkDeliveries(b *testing.B) {
	for _, appenders := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("appenders=%d", appenders), func(b *testing.B) {
			s, err := Open(Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			var followed sync.WaitGroup
			followed.Go(func() {
				_ = ledger.Follow(ctx, s, s.Head(), 1000, func([]*domain.Record) error { return nil })
			})
			var next atomic.Int64
			var work sync.WaitGroup
			b.ResetTimer()
			cpu := cpuTime()
			for range appenders {
				work.Go(func() {
					for next.Add(1) <= int64(b.N) {
						deliver(b, s)
					}
				})
			}
			work.Wait()
			wall := b.Elapsed()
			used := cpuTime() - cpu
			b.StopTimer()
			b.ReportMetric(float64(2*b.N)/wall.Seconds(), "appends/s")
			b.ReportMetric(float64(5*b.N)/wall.Seconds(), "records/s")
			b.ReportMetric(float64(used.Microseconds())/float64(2*b.N), "cpu-us/append")
			cancel()
			followed.Wait()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(dirSize(b, s.cfg.Dir))/float64(b.N), "disk-B/delivery")
		})
	}
}

func deliver(b *testing.B, s *Store) {
	first, second := delivery(ulid.Make())
	stream := first[0].Stream
	done, err := s.Append(context.Background(), stream, domain.NoStream, first)
	if err != nil {
		b.Error(err)
		return
	}
	if _, err := s.Append(context.Background(), stream, done.Revision, second); err != nil {
		b.Error(err)
	}
}

// delivery makes the two appends of a delivery that succeeds at its first attempt.
func delivery(base ulid.ULID) (first, second []domain.Record) {
	id := domain.NewID(domain.PrefixDelivery, base)
	attempt := domain.NewID(domain.PrefixAttempt, base)
	stream := domain.DeliveryStream(domain.DefaultTenant, id)
	var ciphertext [220]byte
	rng := rand.NewChaCha8([32]byte(bytes.Repeat(base[:], 2)))
	_, _ = rng.Read(ciphertext[:]) // never fails
	second0 := domain.Duration(time.Second)
	stamp := domain.Stamp{At: time.Now(), Base: base, Actor: domain.System("delivery")}
	facts := []domain.Fact{
		&domain.DeliveryScheduled{Event: "evt_01JNM1S5Q0F9Z8X7C6V5B4N3M2", Endpoint: "ep_01JNM1S5Q0F9Z8X7C6V5B4N3M2",
			Cause: "routed", Policy: domain.RetryPolicy{Schedule: []domain.Duration{second0, second0, second0, second0,
				second0, second0, second0}, Jitter: 0.1}, DueAt: stamp.At},
		&domain.AttemptStarted{Attempt: attempt, N: 1, EndpointRevision: 3, Trigger: domain.TriggerInitial,
			Method: "POST", Host: "hooks.example.com", Headers: []domain.Header{{Name: "content-type",
				Value: "application/json"}, {Name: "user-agent", Value: "hookledger/1.0"},
				{Name: "content-length", Value: "512"}}, Timeout: 15 * second0, StartedAt: stamp.At,
			Node: "node_01JNM1S5Q0F9Z8X7C6V5B4N3M2"},
		&domain.RequestSigned{Attempt: attempt, Scheme: "v1", KeyIDs: []string{"sig_01JNM1S5Q0F9Z8X7C6V5B4N3M2"},
			WebhookID: "evt_01JNM1S5Q0F9Z8X7C6V5B4N3M2", WebhookTimestamp: stamp.At.Unix(),
			Signatures: "v1," + base64.StdEncoding.EncodeToString(ciphertext[:32])},
		&domain.ResponseReceived{Attempt: attempt, Status: 200, Content: &domain.Sealed{
			KeyID: "dk_01JNM1S5Q0F9Z8X7C6V5B4N3M2", Nonce: ciphertext[:12], Ciphertext: ciphertext[12:]},
			RemoteAddr: "192.0.2.1:443", Timings: domain.Timings{FirstByte: 812, Total: 934}},
		&domain.DeliverySucceeded{Attempt: attempt, Attempts: 1},
	}
	all := stamp.Records(stream, domain.DefaultTenant, "evt_01JNM1S5Q0F9Z8X7C6V5B4N3M2", ulid.ULID{}, facts...)
	return all[:3:3], all[3:]
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func dirSize(b *testing.B, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
