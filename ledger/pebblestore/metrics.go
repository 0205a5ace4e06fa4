package pebblestore

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/ledger"
)

// metrics are what the store tells about itself.
type metrics struct {
	latency  *prometheus.HistogramVec
	won      prometheus.Observer
	group    prometheus.Histogram
	position prometheus.Gauge
	damage   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hookledger_ledger_append_seconds", Help: "Time that an append took, by its outcome.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}, []string{"outcome"}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hookledger_ledger_group_appends", Help: "Appends that shared one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		position: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hookledger_ledger_durable_position", Help: "Position of the last durable record.",
		}),
		damage: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hookledger_ledger_damaged_reads_total", Help: "Reads that met damaged data.",
		}),
	}
	m.won = m.latency.WithLabelValues("appended")
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.latency, m.group, m.position, m.damage} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) appended(done ledger.Appended, err error, took time.Duration) {
	switch {
	case err == nil && !done.Duplicate:
		m.won.Observe(took.Seconds())
	default:
		m.latency.WithLabelValues(ledger.Outcome(done, err)).Observe(took.Seconds())
	}
}
