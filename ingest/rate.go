package ingest

import (
	"math"
	"strconv"
	"sync"

	"golang.org/x/time/rate"

	"hookledger/domain"
)

// leastBurst is how many events are taken at once where a tenant's rate is small.
const leastBurst = 10

// rates are the tenants' rates of intake, as they are set; the zero value is ready for use.
type rates struct {
	mu       sync.Mutex // guards limiters
	limiters map[string]*rate.Limiter
}

// admit refuses a producer's post that is over its tenant's rate. What hookledger itself posts is of its own pace.
func (r *rates) admit(in *Ingest, p *Post) error {
	if p.Actor.Kind != "key" {
		return nil
	}
	routing, ok := in.dir.Routing(p.Tenant)
	if !ok || routing.Tenant.Settings.IngestRate <= 0 {
		return nil
	}
	perSecond, now := routing.Tenant.Settings.IngestRate, in.now()
	reservation := r.limiter(p.Tenant, perSecond).ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait <= 0 {
		return nil
	}
	reservation.CancelAt(now)
	refusal := domain.Refuse(domain.KindLimited, "rate_limited", "the tenant sends more than the "+
		strconv.FormatFloat(perSecond, 'f', -1, 64)+" events a second that it may",
		"repeat it with the same id after the time in Retry-After")
	refusal.After = wait
	return refusal
}

// admitBatch is admit for the posts of a batch, in their order: what stands behind one that is refused is refused with
// it, for else the next moment would let it through, and it would go before the other.
func (r *rates) admitBatch(in *Ingest, posts []Post, results []Result) {
	over := map[string]error{} // of each tenant the refusal
	for i := range posts {
		p := &posts[i]
		if results[i].Err = over[p.Tenant]; results[i].Err == nil || p.Actor.Kind != "key" {
			results[i].Err = r.admit(in, p)
		}
		if results[i].Err != nil {
			over[p.Tenant] = results[i].Err
		}
	}
}

// limiter is the tenant's, which takes a second's worth in a burst.
func (r *rates) limiter(tenant string, perSecond float64) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.limiters[tenant]
	if l == nil || l.Limit() != rate.Limit(perSecond) {
		if r.limiters == nil {
			r.limiters = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(rate.Limit(perSecond), max(leastBurst, int(math.Ceil(perSecond))))
		r.limiters[tenant] = l
	}
	return l
}
