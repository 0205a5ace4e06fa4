package projections

import (
	"context"
	"syscall"
	"testing"
	"time"
)

// cpu is what this process has used up so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHistory folds whole deliveries into rows: an event, a delivery, an attempt, 7 records. "live" has each begin
// and end within a transaction, as when deliveries keep up with events; "backlog" has all events first, so that each
// delivery is a row that is read again and changed.
func BenchmarkHistory(b *testing.B) {
	for _, c := range []struct {
		name    string
		backlog bool
	}{{"live", false}, {"backlog", true}} {
		b.Run(c.name, func(b *testing.B) {
			l := newFakeLedger()
			l.tenant(ten)
			l.endpoint(ten, ep1)
			for i := range b.N {
				d := l.post(ten, ep1)
				if !c.backlog {
					l.deliver(d)
				}
				if i%10 == 0 {
					l.pass(time.Millisecond)
				}
			}
			if c.backlog {
				for _, d := range l.order {
					l.deliver(d)
				}
			}
			p := emptied(b, l)
			before := cpu(b)
			b.ResetTimer()
			for p.history.at.position < l.Head() {
				if err := p.history.advance(context.Background(), l.Head()); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/delivery")
			b.ReportMetric(float64(len(l.records))/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// emptied opens projections that have folded nothing yet.
func emptied(b *testing.B, l *fakeLedger) *Projections {
	b.Helper()
	records := l.records
	l.records = nil
	p := l.opened(b, func(c *Config) { c.FlushSize = 10_000 })
	l.records = records
	return p
}
