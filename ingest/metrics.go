package ingest

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"hookledger/domain"
)

// counts counts posts by what became of them: "accepted", "duplicate", a refusal's code, or "internal".
type counts struct {
	posts               *prometheus.CounterVec
	accepted, duplicate prometheus.Counter
}

func newCounts(r prometheus.Registerer) counts {
	posts := promauto.With(r).NewCounterVec(prometheus.CounterOpts{Name: "hookledger_posts_total",
		Help: "Events posted, by result: accepted, duplicate, or the code of the refusal."}, []string{"result"})
	return counts{posts: posts, accepted: posts.WithLabelValues("accepted"), duplicate: posts.WithLabelValues("duplicate")}
}

func (c *counts) count(r *Receipt, err error) {
	switch code := domain.Code(err); {
	case err == nil && r.Duplicate:
		c.duplicate.Inc()
	case err == nil:
		c.accepted.Inc()
	case code != "":
		c.posts.WithLabelValues(code).Inc()
	default:
		c.posts.WithLabelValues("internal").Inc()
	}
}
