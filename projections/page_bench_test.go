package projections

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// BenchmarkPage measures pages of a history of HOOKLEDGER_BENCH_ATTEMPTS attempts (default 200,000) at ten endpoints,
// over 30 days: by endpoint and time, and by conditions that few rows fulfil.
func BenchmarkPage(b *testing.B) {
	n := 200_000
	if s := os.Getenv("HOOKLEDGER_BENCH_ATTEMPTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	const span = 30 * 24 * time.Hour
	l := newFakeLedger()
	l.tenant(ten)
	p := l.opened(b, nil)
	fillAttempts(b, p, n, span)
	for _, c := range []struct {
		name string
		f    AttemptFilter
	}{
		{"endpoint and time", AttemptFilter{EndpointID: "ep_3"}},
		{"endpoint, time and class", AttemptFilter{EndpointID: "ep_3", Where: Where{AttemptClass: 5}}},
		{"trigger and time", AttemptFilter{Where: Where{Trigger: domain.TriggerManual}}},
		{"latency and time", AttemptFilter{Where: Where{LatencyAtLeast: 2 * time.Second}}},
		{"address that is nowhere", AttemptFilter{Where: Where{RemoteAddr: "198.51.100.1"}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			f, worst := c.f, time.Duration(0)
			f.List = List{Tenant: ten}
			i := 0
			for b.Loop() {
				f.CreatedBefore = start.Add(span/10 + span*time.Duration(i*37%90)/100)
				i++
				began := time.Now()
				if _, err := p.Attempts(b.Context(), f); err != nil {
					b.Fatal(err)
				}
				worst = max(worst, time.Since(began))
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
		})
	}
}

// fillAttempts writes attempts as rows, as the fold does: one in 50 is slow or failed, one in 1,000 somebody's retry.
func fillAttempts(b *testing.B, p *Projections, n int, span time.Duration) {
	b.Helper()
	const batch = 10_000
	ctx := context.Background()
	for from := 0; from < n; from += batch {
		rows := make([]*attemptState, 0, batch)
		for i := from; i < min(from+batch, n); i++ {
			at := start.Add(span / time.Duration(n) * time.Duration(i))
			var u ulid.ULID
			_ = u.SetTime(uint64(at.UnixMilli()))
			copy(u[6:], fmt.Sprintf("%010d", i))
			a := &attemptState{AttemptRow: AttemptRow{Tenant: ten, ID: domain.NewID(domain.PrefixAttempt, u),
				DeliveryID: domain.NewID(domain.PrefixDelivery, u), EventID: domain.NewID(domain.PrefixEvent, u),
				EndpointID: "ep_" + strconv.Itoa(i%10), N: 1, Trigger: domain.TriggerInitial, Status: AttemptSucceeded,
				Code: 200, StartedAt: at, Duration: 30 * time.Millisecond, RemoteAddr: "203.0.113.7:443"}}
			switch {
			case i%50 == 3:
				a.Status, a.Code, a.ErrorCode = AttemptFailed, 503, domain.CodeHTTPStatus
			case i%50 == 9:
				a.Duration = 3 * time.Second
			case i%1000 == 1:
				a.Trigger = domain.TriggerManual
			}
			rows = append(rows, a)
		}
		w := p.history.w
		if err := w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
			b.Fatal(err)
		}
		if err := writeAll(ctx, w, attemptTable, rows); err != nil {
			b.Fatal(err)
		}
		if err := w.exec(ctx, "COMMIT"); err != nil {
			b.Fatal(err)
		}
	}
}
