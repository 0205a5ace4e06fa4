package followups

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Results, as they are counted.
const (
	resultDone      = "done"
	resultDuplicate = "duplicate" // it was done before
	resultMoot      = "moot"      // the endpoint was enabled, disabled or deleted meanwhile, or it is none of ours
	resultNobody    = "nobody"    // nobody had subscribed to it
	resultOwn       = "own"       // it is about the delivery of an event of ours: nothing is said of that
	resultErased    = "erased"    // what it is about was erased
	resultRefused   = "refused"
)

type metrics struct {
	done     *prometheus.CounterVec
	troubles prometheus.Counter
}

func newMetrics(r prometheus.Registerer, p Pending, now func() time.Time) (*metrics, error) {
	m := &metrics{
		done: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hookledger_follow_ups_total",
			Help: "What follows from records in other streams, by its kind and what became of it."}, []string{"kind", "result"}),
		troubles: prometheus.NewCounter(prometheus.CounterOpts{Name: "hookledger_follow_up_troubles_total",
			Help: "Times that something which follows from a record had to be put off."}),
	}
	if r == nil {
		return m, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hookledger_follow_ups_pending",
		Help: "What follows from records and is not done yet."}, func() float64 {
		n, _ := p.Waiting()
		return float64(n)
	})
	oldest := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hookledger_follow_ups_oldest_seconds",
		Help: "How long ago the record was written from which the oldest of them follows; 0: there is none."}, func() float64 {
		_, at := p.Waiting()
		if at.IsZero() {
			return 0
		}
		return max(0, now().Sub(at).Seconds())
	})
	return m, errors.Join(r.Register(m.done), r.Register(m.troubles), r.Register(waiting), r.Register(oldest))
}
