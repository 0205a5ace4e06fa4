package agenfleet

import (
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

const (
	// recordEvery is how often a reading is recorded of which only the usage is new.
	recordEvery = 15 * time.Minute
	// resetGrace is how long after midnight a counter that has not fallen is taken for the day before's: the other
	// side may reset it a little late.
	resetGrace = time.Hour
	// saidFor is how long the ids of budget events are remembered: longer than any period. What comes later is a
	// repeat by its id.
	saidFor = 40 * 24 * time.Hour
	// maxGaps bounds the gaps that a month is said to have.
	maxGaps = 100
)

// rules are what of a source's configuration decides.
type rules struct {
	tenant, source string
	config         ulid.ULID
	loc            *time.Location
	tolerance      time.Duration // a time without readings that is no gap yet
	threshold      string
	currency       string
	costPeriod     string
	costGrace      time.Duration
}

func newRules(s *domain.Source) (*rules, error) {
	loc, err := Location(s.Config.TimeZone)
	if err != nil {
		return nil, err
	}
	p := s.Config.Poll
	return &rules{tenant: s.Tenant, source: s.ID, config: s.ConfigRecord, loc: loc,
		tolerance: max(3*time.Duration(p.Every), 10*time.Minute), threshold: p.AlertThreshold, currency: p.Currency,
		costPeriod: p.CostPeriod, costGrace: max(resetGrace, 2*time.Duration(p.CostsEvery))}, nil
}

// state is what is known of a source: folded from its poll stream, and beyond it the readings of this process that
// brought nothing to record.
type state struct {
	rules  *rules
	agents map[string]*agent
	costs  map[string]*cost
	tracks map[string]*track // by what is polled
	said   map[string]bool   // ids of the budget events there were
	// pending is what the last record derived: it is posted before there is a next one.
	pending []domain.DerivedContent
	refused []domain.RefusedEvent // for the next record
}

// track is how the polling of one thing goes.
type track struct {
	readAt   time.Time // when the last good reading began
	recorded time.Time // when the last record was written
	rows     int
	polls    int             // since then
	gap      *domain.PollGap // that is open
	code     string          // of its last failure
	message  string
}

// gap is a time in which tokens may have been used that no reading shows.
type gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// agent is what is known of one.
type agent struct {
	reading  domain.AgentReading // the last
	recorded domain.AgentReading // the last that stands on the ledger
	day      domain.Day          // that the counter is of
	month    domain.Day
	used     uint64 // tokens of the month, as far as readings show: never more than there were
	gaps     []gap  // of the month
	held     bool   // the counter may be the day before's still: it is judged for neither day
	gone     bool   // it is not listed any more
}

// cost is what is known of one agent's.
type cost struct {
	reading domain.CostReading
	period  domain.Day
}

func newState(r *rules) *state {
	return &state{rules: r, agents: map[string]*agent{}, costs: map[string]*cost{}, said: map[string]bool{},
		tracks: map[string]*track{domain.PollAgents: {}, domain.PollLimits: {}, domain.PollCosts: {}}}
}

func tokens(r *domain.AgentReading) uint64 { return r.Input + r.Output }

// advance takes in a reading, which is newer than all before it.
func (a *agent) advance(r domain.AgentReading, ru *rules) {
	d := domain.DayOf(r.ReadAt, ru.loc)
	now, before := tokens(&r), tokens(&a.reading)
	if a.reading.ID == "" {
		a.day, a.month, a.used, a.reading = d, d.Month(), now, r
		a.missed(a.month.Start(ru.loc), d.Start(ru.loc), ru)
		return
	}
	if r.Limits == nil {
		r.Limits = a.reading.Limits
	}
	a.held = d.After(a.day) && now >= before && before > 0 && r.ReadAt.Sub(d.Start(ru.loc)) < resetGrace
	if !d.After(a.day) || a.held {
		d = a.day // the counter is still that day's
	}
	if m := d.Month(); m.After(a.month) {
		a.month, a.used, a.gaps = m, 0, nil
	}
	lost := a.reading.ReadAt
	if begin := a.month.Start(ru.loc); lost.Before(begin) {
		lost = begin
	}
	switch {
	case now < before && d == a.day:
		a.missed(lost, r.ReadAt, ru) // it began anew within the day
	case d != a.day:
		a.missed(lost, d.Start(ru.loc), ru)
	}
	if now >= before {
		a.used += now - before // at least; the counter may have begun anew and passed where it was
	} else {
		a.used += now
	}
	a.day, a.reading = d, r
}

// missed notes a gap, where it is one.
func (a *agent) missed(from, to time.Time, ru *rules) {
	switch {
	case to.Sub(from) <= ru.tolerance:
	case len(a.gaps) == maxGaps:
		a.gaps[maxGaps-1].To = to.UTC()
	default:
		a.gaps = append(a.gaps, gap{from.UTC(), to.UTC()})
	}
}

// advance takes in a cost. Right after a period's begin, one that has not fallen is the former period's.
func (c *cost) advance(r domain.CostReading, readAt time.Time, ru *rules) {
	p := domain.DayOf(readAt, ru.loc).Period(ru.costPeriod)
	if c.reading.ID != "" {
		sign := compare(r.Cost, c.reading.Cost)
		late := sign >= 0 && !zero(r.Cost) && readAt.Sub(p.Start(ru.loc)) < ru.costGrace
		if !p.After(c.period) || late {
			p = c.period
		}
	}
	c.period, c.reading = p, r
}

// evolve folds a record of the poll stream. content is nil where it was erased: then what it said is not known any
// more, and an agent's next reading is its first.
func (s *state) evolve(r *domain.Record, content *domain.PollContent) {
	f, ok := r.Fact.(*domain.SourcePolled)
	if !ok {
		return
	}
	t := s.tracks[f.What]
	if t == nil {
		return
	}
	t.recorded, t.polls, t.code, t.message, t.gap = r.RecordedAt, 0, f.Code, "", nil
	if f.Outcome == domain.PollOK {
		t.readAt, t.rows = f.Begun, f.Rows
	} else if f.Gap != nil {
		open := *f.Gap
		t.gap = &open
	}
	for _, d := range f.Derived {
		s.said[d.ID] = true
	}
	s.pending, s.refused = nil, nil
	if content == nil {
		return
	}
	t.message, s.pending = content.Message, content.Derived
	for _, reading := range content.Agents {
		a := s.agent(reading.ID)
		a.advance(reading, s.rules)
		a.recorded, a.gone = a.reading, false
	}
	for _, id := range content.Gone {
		s.agent(id).gone = true
	}
	for _, reading := range content.Costs {
		s.cost(reading.ID).advance(reading, f.Begun, s.rules)
	}
}

func (s *state) agent(id string) *agent {
	a := s.agents[id]
	if a == nil {
		a = &agent{}
		s.agents[id] = a
	}
	return a
}

func (s *state) cost(id string) *cost {
	c := s.costs[id]
	if c == nil {
		c = &cost{}
		s.costs[id] = c
	}
	return c
}

// forget drops ids that are older than any period.
func (s *state) forget(now time.Time) {
	for id := range s.said {
		u, err := ulid.ParseStrict(id[min(len(domain.PrefixEvent), len(id)):])
		if err != nil || now.Sub(u.Timestamp()) > saidFor {
			delete(s.said, id)
		}
	}
}
