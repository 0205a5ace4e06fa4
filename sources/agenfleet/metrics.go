package agenfleet

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
)

// Results of polls, as they are counted beside the codes of failures.
const (
	resultOK         = "ok"
	resultUnrecorded = "not_recorded" // the ledger or the vault did not take what it brought
	resultOther      = "other"
)

// countedCodes bound the label: a code that is none of them is counted as another.
var countedCodes = []string{resultOK, resultUnrecorded, codeAuth, codeLimited, codeTimeout, codeStatus, codeRequest,
	codeBlocked, codeNotJSON, codeShape, codeIncomplete, codeLoop, codeTooLarge, codeNoRoom}

type metrics struct{ polls *prometheus.CounterVec }

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{polls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hookledger_source_polls_total",
		Help: "Polls of AgenFleet sources, by what was read and by result: ok, or why it failed."},
		[]string{"what", "result"})}
	for _, what := range []string{domain.PollAgents, domain.PollLimits, domain.PollCosts} {
		m.polls.WithLabelValues(what, resultOK) // so that the first one is a change
	}
	if r == nil {
		return m, nil
	}
	return m, r.Register(m.polls)
}

func (m *metrics) polled(what, result string) {
	if !slices.Contains(countedCodes, result) {
		result = resultOther
	}
	m.polls.WithLabelValues(what, result).Inc()
}
