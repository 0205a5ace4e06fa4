package projections

import (
	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
)

// The metrics of endpoint health count endpoints, and name none: their number would be that of all tenants' endpoints.
var (
	endpointStates = prometheus.NewDesc("hookledger_endpoint_states", "Endpoints by how they do.", []string{"state"}, nil)
	endpointBreaks = prometheus.NewDesc("hookledger_endpoint_breakers", "Endpoints by what their breaker does.",
		[]string{"breaker"}, nil)
	endpointSlowed = prometheus.NewDesc("hookledger_endpoint_slowed",
		"Endpoints that get less at once, or nothing for a while, because they said that it is too much.", nil, nil)
	followUpsDropped = prometheus.NewDesc("hookledger_endpoint_followups_dropped_total",
		"Events about endpoints and deliveries that were not told, for too many waited.", nil, nil)
)

var healthDescs = []*prometheus.Desc{endpointStates, endpointBreaks, endpointSlowed, followUpsDropped}

func (p *Projections) collectHealth(ch chan<- prometheus.Metric) {
	s := p.health.Stats(p.cfg.Now())
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for _, state := range domain.HealthStates() {
		gauge(endpointStates, s.States[state], string(state))
	}
	for _, b := range []string{domain.BreakerClosed, domain.BreakerOpen, domain.BreakerHalfOpen} {
		gauge(endpointBreaks, s.Breakers[b], b)
	}
	gauge(endpointSlowed, s.Slowed)
	ch <- prometheus.MustNewConstMetric(followUpsDropped, prometheus.CounterValue, float64(s.Dropped))
}
