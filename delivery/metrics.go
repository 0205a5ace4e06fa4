package delivery

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
)

// metrics of attempts; the labels are outcomes, so that their number is bounded.
type metrics struct {
	attempts *prometheus.CounterVec
	latency  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, inUse func() int, window int) (*metrics, error) {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hookledger_attempts_total",
			Help: "Attempts by outcome (a status code, or the code of a failure) and by the endpoint's state when it was taken up."},
			[]string{"outcome", "endpoint_state"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hookledger_attempt_duration_seconds",
			Help:    "Time from the start of a request to the end of its answer, or of the attempt.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60}}),
	}
	if reg == nil {
		return m, nil
	}
	used := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hookledger_window_in_use",
		Help: "Deliveries under way."}, func() float64 { return float64(inUse()) })
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hookledger_window_size",
		Help: "Deliveries that can be under way at once."}, func() float64 { return float64(window) })
	for _, c := range []prometheus.Collector{m.attempts, m.latency, used, size} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// attempt counts an ended attempt: its failure's code, or else its status; total is in microseconds.
func (m *metrics) attempt(state domain.HealthState, code domain.ErrorCode, status int, total int64) {
	outcome := string(code)
	if code == "" {
		outcome = strconv.Itoa(status)
	}
	m.attempts.WithLabelValues(outcome, string(state)).Inc()
	if total > 0 {
		m.latency.Observe(float64(total) / 1e6)
	}
}
