package projections

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the projections. All of it is usable without a registry.
type metrics struct {
	flush   prometheus.Histogram
	rows    prometheus.Counter
	records prometheus.Counter
	refill  prometheus.Histogram
}

func newMetrics() *metrics {
	return &metrics{
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hookledger_projection_flush_seconds",
			Help: "Time of one transaction of the history.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 9)}),
		rows: prometheus.NewCounter(prometheus.CounterOpts{Name: "hookledger_projection_rows_total",
			Help: "Rows that the history wrote."}),
		records: prometheus.NewCounter(prometheus.CounterOpts{Name: "hookledger_projection_records_total",
			Help: "Records that the history folded."}),
		refill: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hookledger_backlog_refill_seconds",
			Help:    "Time of reading waiting deliveries back into memory.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 9)}),
	}
}

func (m *metrics) flushed(took time.Duration, rows, records int) {
	m.flush.Observe(took.Seconds())
	m.rows.Add(float64(rows))
	m.records.Add(float64(records))
}

var (
	lagSeconds = prometheus.NewDesc("hookledger_projection_lag_seconds",
		"For how long records have waited to be folded.", []string{"projection"}, nil)
	lagPositions = prometheus.NewDesc("hookledger_projection_lag_positions",
		"Distance to the end of the ledger, in positions: records in the embedded store, bytes of its log in EventStoreDB.", []string{"projection"}, nil)
	stoppedDesc = prometheus.NewDesc("hookledger_projection_stopped",
		"1: the projection met a record that it can't fold.", []string{"projection"}, nil)
	backlogInMemory = prometheus.NewDesc("hookledger_backlog_in_memory",
		"Of the deliveries that wait, those that this node has in memory, near their turn; the rest stands in rows.", nil, nil)
	backlogWaiting = prometheus.NewDesc("hookledger_backlog_waiting",
		"Deliveries that have not ended and have no attempt under way.", nil, nil)
	backlogOldest = prometheus.NewDesc("hookledger_backlog_oldest_seconds",
		"How long ago the oldest of them was received; 0 where none waits.", nil, nil)
)

// collector reads the state of the projections when it is asked.
type collector struct{ p *Projections }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range append([]*prometheus.Desc{lagSeconds, lagPositions, stoppedDesc, backlogInMemory, backlogWaiting,
		backlogOldest, deliveriesHeld}, healthDescs...) {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.p.Status() {
		stopped := 0.0
		if s.Err != nil {
			stopped = 1
		}
		ch <- prometheus.MustNewConstMetric(lagSeconds, prometheus.GaugeValue, s.Behind.Seconds(), s.Name)
		ch <- prometheus.MustNewConstMetric(lagPositions, prometheus.GaugeValue, float64(s.Head-s.Position), s.Name)
		ch <- prometheus.MustNewConstMetric(stoppedDesc, prometheus.GaugeValue, stopped, s.Name)
	}
	c.p.collectHealth(ch)
	ch <- prometheus.MustNewConstMetric(backlogInMemory, prometheus.GaugeValue, float64(c.p.backlog.waitingInMemory()))
	ctx, cancel := context.WithTimeout(context.Background(), countWithin)
	defer cancel()
	c.waiting(ctx, ch)
	c.held(ctx, ch)
}

// countWithin is how long a scrape may count what waits: about 50 ms for a million.
const countWithin = 2 * time.Second

// waiting leaves out what can't be counted in time: no figure is better than an old one.
func (c collector) waiting(ctx context.Context, ch chan<- prometheus.Metric) {
	n, oldest, err := c.p.countWaiting(ctx, "")
	if err != nil {
		c.p.cfg.Logger.Warn("what waits could not be counted for the metrics", "error", err)
		return
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, c.p.cfg.Now().Sub(oldest).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(backlogWaiting, prometheus.GaugeValue, float64(n))
	ch <- prometheus.MustNewConstMetric(backlogOldest, prometheus.GaugeValue, age)
}

// register makes the metrics known; the same names twice in one registry are the caller's mistake.
func (m *metrics) register(r prometheus.Registerer, p *Projections) error {
	if r == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.flush, m.rows, m.records, m.refill, collector{p}} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
