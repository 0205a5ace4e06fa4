package eventstore

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/ledger"
)

// metrics are what the store tells about itself. Those that every store has are named as every store's.
type metrics struct {
	latency      *prometheus.HistogramVec
	resubscribed *prometheus.CounterVec
	resolved     *prometheus.CounterVec
	repeats      prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hookledger_ledger_append_seconds", Help: "Time that an append took, by its outcome.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}, []string{"outcome"}),
		resubscribed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hookledger_eventstore_resubscriptions_total",
			Help: "Times that the subscription was made anew: dropped by the server, or silent.",
		}, []string{"reason"}),
		resolved: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hookledger_eventstore_unknown_outcomes_resolved_total",
			Help: "Appends that were not answered and whose outcome a repeat found out.",
		}, []string{"outcome"}),
		repeats: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hookledger_eventstore_append_repeats_total", Help: "Times that an append was sent again.",
		}),
	}
}

func (m *metrics) register(r prometheus.Registerer, s *Store) error {
	if r == nil {
		return nil
	}
	position := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hookledger_ledger_durable_position", Help: "Position of the last durable record.",
	}, func() float64 { return float64(s.Head()) })
	all := []prometheus.Collector{m.latency, m.resubscribed, m.resolved, m.repeats, position}
	for _, l := range s.lanes() {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "hookledger_eventstore_calls_in_flight", Help: "Calls to the server that have not ended.",
			ConstLabels: prometheus.Labels{"kind": l.name},
		}, func() float64 { return float64(l.inFlight()) }))
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *metrics) appended(done ledger.Appended, err error, took time.Duration) {
	m.latency.WithLabelValues(ledger.Outcome(done, err)).Observe(took.Seconds())
}
