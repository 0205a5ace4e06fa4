package agenfleet

import (
	"encoding/json"
	"math/big"
	"strconv"
	"time"

	"hookledger/domain"
)

// Types of the events that are derived.
const (
	eventStatus    = "agent.status_changed"
	eventAlert     = "agent.budget_alert"
	eventExhausted = "agent.budget_exhausted"
)

// computedFrom says what an event was computed from: which reading, which fields of it, and what stood there.
type computedFrom struct {
	Poll   string   `json:"poll"` // the record of the reading
	ReadAt string   `json:"readAt"`
	Fields []string `json:"fields"`
	Values []any    `json:"values"`
}

// statusData is the data of agent.status_changed.
type statusData struct {
	AgentID  string       `json:"agentId"`
	From     string       `json:"from"`
	To       string       `json:"to"`
	Between  [2]string    `json:"observedBetween"`
	Computed computedFrom `json:"computedFrom"`
}

// budgetData is the data of the two budget events.
type budgetData struct {
	AgentID     string       `json:"agentId"`
	Budget      json.Number  `json:"budget"`
	Spent       json.Number  `json:"spent"`
	Threshold   json.Number  `json:"threshold,omitempty"`
	Period      string       `json:"period"`
	Unit        string       `json:"unit"`
	Currency    string       `json:"currency,omitempty"`
	PeriodStart string       `json:"periodStart"`
	Estimated   bool         `json:"estimated,omitempty"`
	Gaps        []gap        `json:"gaps,omitempty"`
	Computed    computedFrom `json:"computedFrom"`
}

// usage is how much of one budget was used.
type usage struct {
	agent         string
	budget, spent json.Number
	threshold     json.Number // empty: none
	period        string
	start         time.Time
	unit          string
	currency      string
	estimated     bool
	gaps          []gap
	from          computedFrom
	readAt        time.Time
}

func written(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// status gives the event of an agent's change from one reading to the next, if it is one.
func (ru *rules) status(old, now *domain.AgentReading, ended time.Time,
	from computedFrom) (domain.DerivedContent, bool) {
	if old.ID == "" || old.Status == now.Status {
		return domain.DerivedContent{}, false
	}
	from.Fields, from.Values = []string{"status"}, []any{now.Status}
	id := domain.DerivedID(now.ReadAt, "agenfleet status", ru.tenant, ru.source, now.ID, from.Poll)
	return event(domain.NewID(domain.PrefixEvent, id), eventStatus, ended, now.ID, statusData{AgentID: now.ID,
		From: old.Status, To: now.Status, Between: [2]string{written(old.ReadAt), written(ended)}, Computed: from}), true
}

// event writes an event as it will be posted.
func event(id, name string, at time.Time, agent string, data any) domain.DerivedContent {
	raw, err := json.Marshal(data)
	if err != nil {
		panic("agenfleet: " + err.Error()) // of numbers that were not checked: a broken build
	}
	return domain.DerivedContent{ID: id, Event: name, Timestamp: at.UTC(), Subject: agent, Data: raw}
}

// tokenBudgets gives an agent's usage of its token budgets.
func (ru *rules) tokenBudgets(a *agent, from computedFrom) []usage {
	limits := a.reading.Limits
	if limits == nil {
		return nil
	}
	from.Fields = []string{"tokensTodayInput", "tokensTodayOutput"}
	from.Values = []any{a.reading.Input, a.reading.Output}
	u := usage{agent: a.reading.ID, threshold: limits.Threshold, unit: "tokens", from: from, readAt: a.reading.ReadAt}
	if u.threshold == "" {
		u.threshold = json.Number(ru.threshold)
	}
	var out []usage
	if limits.Daily > 0 && !a.held {
		daily := u
		daily.period, daily.start = domain.PeriodDaily, a.day.Start(ru.loc)
		daily.budget, daily.spent = number(limits.Daily), number(tokens(&a.reading))
		out = append(out, daily)
	}
	if limits.Monthly > 0 {
		monthly := u
		monthly.period, monthly.start = domain.PeriodMonthly, a.month.Start(ru.loc)
		monthly.budget, monthly.spent = number(limits.Monthly), number(a.used)
		monthly.estimated, monthly.gaps = true, a.gaps
		out = append(out, monthly)
	}
	return out
}

// costBudget gives an agent's usage of its budget in money.
func (ru *rules) costBudget(c *cost, threshold json.Number, readAt time.Time, from computedFrom) []usage {
	if c.reading.Budget == "" || zero(c.reading.Budget) {
		return nil
	}
	if threshold == "" {
		threshold = json.Number(ru.threshold)
	}
	from.Fields, from.Values = []string{"actualCost", "budget"}, []any{c.reading.Cost, c.reading.Budget}
	return []usage{{agent: c.reading.ID, threshold: threshold, unit: "money", currency: ru.currency,
		period: ru.costPeriod, start: c.period.Start(ru.loc), budget: c.reading.Budget, spent: c.reading.Cost, from: from,
		readAt: readAt}}
}

// crossed gives the events of a usage that were not there yet: each once for an agent, a period and a unit.
func (s *state) crossed(u *usage) []domain.DerivedContent {
	var out []domain.DerivedContent
	say := func(name string, threshold json.Number) {
		id := domain.NewID(domain.PrefixEvent, domain.DerivedID(u.start, "agenfleet budget", s.rules.tenant, s.rules.source,
			u.agent, name, u.period, u.unit))
		if s.said[id] {
			return
		}
		s.said[id] = true
		out = append(out, event(id, name, u.readAt, u.agent, budgetData{AgentID: u.agent, Budget: u.budget, Spent: u.spent,
			Threshold: threshold, Period: u.period, Unit: u.unit, Currency: u.currency, PeriodStart: written(u.start),
			Estimated: u.estimated, Gaps: u.gaps, Computed: u.from}))
	}
	if u.threshold != "" && !zero(u.threshold) && reaches(u.spent, u.budget, u.threshold) {
		say(eventAlert, u.threshold)
	}
	if !u.estimated && reaches(u.spent, u.budget, "1") {
		say(eventExhausted, "")
	}
	return out
}

// reaches says whether spent is at least the share of the budget, exactly.
func reaches(spent, budget, share json.Number) bool {
	bound := new(big.Rat).Mul(rational(budget), rational(share))
	return rational(spent).Cmp(bound) >= 0
}

func compare(a, b json.Number) int { return rational(a).Cmp(rational(b)) }

func zero(n json.Number) bool { return rational(n).Sign() == 0 }

// rational reads a decimal that was found to be one.
func rational(n json.Number) *big.Rat {
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return new(big.Rat)
	}
	return r
}

func number(n uint64) json.Number { return json.Number(strconv.FormatUint(n, 10)) }
