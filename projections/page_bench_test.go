package projections

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// What BenchmarkPage fills the rows with.
const (
	benchSpan      = 30 * 24 * time.Hour
	benchEndpoints = 100
)

// BenchmarkPage measures pages of 50 of a history of HOOKLEDGER_BENCH_ATTEMPTS attempts (default 200,000) at 100
// endpoints, over 30 days, each from another endpoint and time, which the seed it logs decides. "to the end" follows an
// endpoint's cursors to the last page, and measures that one.
func BenchmarkPage(b *testing.B) {
	n := 200_000
	if s := os.Getenv("HOOKLEDGER_BENCH_ATTEMPTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	b.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	p := filled(b, n)
	for _, c := range []struct {
		name   string
		where  Where
		anyone bool // of all endpoints
		count  bool
	}{
		{name: "endpoint and time"},
		{name: "endpoint, time and class", where: Where{AttemptClass: 5}},
		{name: "endpoint, time and total", count: true},
		{name: "trigger and time", where: Where{Trigger: domain.TriggerManual}, anyone: true},
		{name: "latency and time", where: Where{LatencyAtLeast: 2 * time.Second}, anyone: true},
		{name: "address that is nowhere", where: Where{RemoteAddr: "198.51.100.1"}, anyone: true},
	} {
		b.Run(c.name, func(b *testing.B) {
			measure(b, func() func(*testing.B) {
				f := AttemptFilter{List: List{Tenant: ten, Count: c.count}, Where: c.where}
				if !c.anyone {
					f.EndpointID = benchEndpointID(rnd.IntN(benchEndpoints))
				}
				f.CreatedBefore = start.Add(benchSpan/10 + time.Duration(rnd.Int64N(int64(benchSpan)*9/10)))
				return func(b *testing.B) { attemptsPage(b, p, f) }
			})
		})
	}
	b.Run("to the end", func(b *testing.B) {
		last := map[string]AttemptFilter{}
		measure(b, func() func(*testing.B) {
			e := benchEndpointID(rnd.IntN(min(benchEndpoints, 5))) // the way there is long
			f, known := last[e]
			if !known {
				f = AttemptFilter{List: List{Tenant: ten, Limit: MaxLimit}, EndpointID: e}
				for page := attemptsPage(b, p, f); page.HasMore; page = attemptsPage(b, p, f) {
					f.Cursor = page.NextCursor
				}
				last[e] = f
			}
			return func(b *testing.B) { attemptsPage(b, p, f) }
		})
	})
}

func benchEndpointID(i int) string { return "ep_" + strconv.Itoa(i) }

func attemptsPage(b *testing.B, p *Projections, f AttemptFilter) Page[AttemptRow] {
	b.Helper()
	page, err := p.Attempts(b.Context(), f)
	if err != nil {
		b.Fatal(err)
	}
	return page
}

// measure reports the median, the 99th percentile and the worst of what prepare gives, in milliseconds.
func measure(b *testing.B, prepare func() func(*testing.B)) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		fn := prepare()
		b.StartTimer()
		began := time.Now()
		fn(b)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	n := len(took)
	for name, i := range map[string]int{"p50-ms": n / 2, "p99-ms": n * 99 / 100, "worst-ms": n - 1} {
		b.ReportMetric(float64(took[i].Microseconds())/1000, name)
	}
}

// filled opens a history of so many attempts.
func filled(b *testing.B, n int) *Projections {
	b.Helper()
	l := newFakeLedger()
	l.tenant(ten)
	p := l.opened(b, nil)
	began := time.Now()
	fillAttempts(b, p, n)
	took := time.Since(began)
	info, err := os.Stat(p.db.path)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d attempts written in %s, %.0f a second; the file has %d MB", n, took.Round(time.Millisecond),
		float64(n)/took.Seconds(), info.Size()>>20)
	return p
}

// fillAttempts writes attempts as rows, as the fold does: one in 50 is slow or failed, one in 1,000 somebody's retry.
func fillAttempts(b *testing.B, p *Projections, n int) {
	b.Helper()
	const batch = 10_000
	ctx := context.Background()
	for from := 0; from < n; from += batch {
		rows := make([]*attemptState, 0, batch)
		for i := from; i < min(from+batch, n); i++ {
			rows = append(rows, benchAttempt(i, start.Add(benchSpan/time.Duration(n)*time.Duration(i))))
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

func benchAttempt(i int, at time.Time) *attemptState {
	var u ulid.ULID
	_ = u.SetTime(uint64(at.UnixMilli()))
	copy(u[6:], fmt.Sprintf("%010d", i))
	a := &attemptState{AttemptRow: AttemptRow{Tenant: ten, ID: domain.NewID(domain.PrefixAttempt, u),
		DeliveryID: domain.NewID(domain.PrefixDelivery, u), EventID: domain.NewID(domain.PrefixEvent, u),
		EndpointID: benchEndpointID(i % benchEndpoints), N: 1, Trigger: domain.TriggerInitial, Status: AttemptSucceeded,
		Code: 200, StartedAt: at, Duration: 30 * time.Millisecond, RemoteAddr: "203.0.113.7:443"}}
	switch {
	case i/benchEndpoints%50 == 3:
		a.Status, a.Code, a.ErrorCode = AttemptFailed, 503, domain.CodeHTTPStatus
	case i/benchEndpoints%50 == 9:
		a.Duration = 3 * time.Second
	case i/benchEndpoints%1000 == 1:
		a.Trigger = domain.TriggerManual
	}
	return a
}
