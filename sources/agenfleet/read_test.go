package agenfleet

import (
	"errors"
	"testing"
	"time"

	"hookledger/domain"
)

// FuzzAnswers: whatever an API answers is a reading in bounds or a poll that failed, and never a panic.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{``, `{}`, `<html>`, `{"data":[{"id":"a","status":"online","tokensTodayInput":1,` +
		`"tokensTodayOutput":2,"config":{"limits":{"dailyTokenBudget":3,"alertThreshold":8e-1}}}],"pagination":{"total":1,` +
		`"limit":100,"offset":0,"hasMore":false}}`, `{"agents":[{"id":"a","actualCost":28.40,"budget":1e2}]}`,
		`{"data":[null],"pagination":{"total":9223372036854775807,"offset":0,"hasMore":true}}`} {
		f.Add([]byte(seed))
	}
	c := newSource(nil).Config
	names := newFields(&c)
	ru, err := newRules(newSource(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var bad *pollError
		p, err := parsePage("GET /agents", body, 0, pageSize)
		if err != nil && !errors.As(err, &bad) {
			t.Fatal(err)
		}
		if err == nil {
			s := newState(ru)
			for _, v := range p.rows {
				r := row{names, "row 1", v}
				if a, err := r.agent(noon); err == nil {
					s.agent(a.ID).advance(a, ru)
					for _, u := range ru.tokenBudgets(s.agents[a.ID], computedFrom{}) {
						s.crossed(&u)
					}
				} else if !errors.As(err, &bad) {
					t.Fatal(err)
				}
			}
		}
		v, err := parse("GET /cost-analysis/agents", body)
		if err != nil {
			return
		}
		rows, _ := list("GET /cost-analysis/agents", v, "/agents")
		for _, v := range rows {
			r := row{names, "row 1", v}
			if one, err := r.cost(); err == nil {
				x := cost{}
				x.advance(one, noon, ru)
			}
		}
	})
}

// TestSourcesOfOneHostShareALimit: the smallest that one of them asks for, whoever came first.
func TestSourcesOfOneHostShareALimit(t *testing.T) {
	t.Parallel()
	r := newBridge(t, func() time.Time { return noon }, nil).runner()
	ask := func(base string, n int) *domain.PollConfig { return &domain.PollConfig{URL: base, RateLimit: n} }
	one := r.limiter(ask("https://api.agenfleet.ai/api", 50))
	two := r.limiter(ask("https://api.agenfleet.ai/v1", 30))
	if one != two || one.Limit() != newLimiter(30).Limit() || r.limiter(ask("https://other.example/api", 50)) == one {
		t.Errorf("%v %v", one.Limit(), two.Limit())
	}
	for n := range 100 { // what goes at once and what comes in a minute are not more than was asked for
		if l := newLimiter(n + 1); float64(l.Burst())+60*float64(l.Limit()) > float64(max(n+1, 2))+1e-9 {
			t.Errorf("%d: %d at once and %v a minute", n+1, l.Burst(), 60*l.Limit())
		}
	}
}
