package agenfleet

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// draftBytes is how much content a record gets at most, about: sealed and encoded it must fit into one append.
const draftBytes = 256 << 10

// reading is a whole listing, as it was read.
type reading struct {
	what         string
	begun, ended time.Time
	agents       []domain.AgentReading
	costs        []domain.CostReading
}

// draft is a record that was decided on: its content is sealed when it is appended.
type draft struct {
	id      ulid.ULID
	fact    *domain.SourcePolled
	content domain.PollContent
}

// drafts collects the records of one reading.
type drafts struct {
	state *state
	from  *reading
	newID func() ulid.ULID
	all   []*draft
	size  int // of the last one's content, about
}

// last is the record that is being filled; one that is full is followed by another.
func (d *drafts) last() *draft {
	if n := len(d.all); n > 0 && d.size < draftBytes {
		return d.all[n-1]
	}
	t, r := d.state.tracks[d.from.what], d.from
	rows := len(r.agents) + len(r.costs)
	f := &domain.SourcePolled{What: r.what, Outcome: domain.PollOK, Begun: r.begun, Ended: r.ended,
		Config: d.state.rules.config, Rows: rows}
	if len(d.all) == 0 {
		f.Polls, f.Refused = t.polls+1, d.state.refused
		if t.gap != nil {
			f.Gap = &domain.PollGap{Since: t.gap.Since, Until: r.begun, Polls: t.gap.Polls}
		}
	}
	d.size = 0
	d.all = append(d.all, &draft{id: d.newID(), fact: f})
	return d.all[len(d.all)-1]
}

func (d *drafts) derive(to *draft, events ...domain.DerivedContent) {
	for _, e := range events {
		to.fact.Derived = append(to.fact.Derived, domain.DerivedEvent{ID: e.ID, Event: e.Event})
		to.content.Derived = append(to.content.Derived, e)
		d.size += len(e.Data) + 200
	}
}

// take decides what a reading brings: records, or none where nothing is new. The state holds the reading afterwards;
// if the records can't be appended it must be folded anew.
func (s *state) take(r *reading, newID func() ulid.ULID) []*draft {
	t := s.tracks[r.what]
	d := &drafts{state: s, from: r, newID: newID}
	s.forget(r.begun)
	if t.gap != nil || len(s.refused) > 0 || t.recorded.IsZero() && r.what != domain.PollLimits {
		d.last()
	}
	switch r.what {
	case domain.PollAgents:
		s.takeAgents(d, r.ended.Sub(t.recorded) >= recordEvery)
	case domain.PollCosts:
		s.takeCosts(d)
	}
	t.readAt, t.rows, t.gap, t.code, t.message = r.begun, len(r.agents)+len(r.costs), nil, "", ""
	t.polls++
	if len(d.all) > 0 {
		t.polls, t.recorded, s.refused = 0, r.ended, nil
	}
	return d.all
}

func (s *state) takeAgents(d *drafts, due bool) {
	r := d.from
	slices.SortFunc(r.agents, func(a, b domain.AgentReading) int { return cmp.Compare(a.ID, b.ID) })
	listed := make(map[string]bool, len(r.agents))
	for _, row := range r.agents {
		listed[row.ID] = true
		s.takeAgent(d, row, due)
	}
	for id, a := range s.agents {
		if !listed[id] && !a.gone {
			a.gone = true
			to := d.last()
			to.content.Gone = append(to.content.Gone, id)
			d.size += len(id) + 4
		}
	}
	for _, to := range d.all {
		slices.Sort(to.content.Gone)
	}
}

func (s *state) takeAgent(d *drafts, row domain.AgentReading, due bool) {
	a := s.agent(row.ID)
	old, before := a.reading, *a
	a.advance(row, s.rules)
	closes := old.ID != "" && (a.day != before.day || tokens(&a.reading) < tokens(&old))
	news := old.ID == "" || before.gone || closes || old.Status != row.Status ||
		!reflect.DeepEqual(old.Limits, a.reading.Limits)
	from := computedFrom{ReadAt: written(row.ReadAt)}
	usages := s.rules.tokenBudgets(a, from)
	if !news && !slices.ContainsFunc(usages, s.wouldCross) && (!due || sameReading(&a.recorded, &a.reading)) {
		return
	}
	to := d.last()
	if closes && !old.ReadAt.Equal(a.recorded.ReadAt) {
		to.content.Agents = append(to.content.Agents, old) // the last before the counter began anew
	}
	to.content.Agents = append(to.content.Agents, a.reading)
	d.size += 2 * (200 + len(row.ID))
	a.recorded, a.gone = a.reading, false
	from.Poll = to.id.String()
	if e, ok := s.rules.status(&old, &a.reading, d.from.ended, from); ok {
		d.derive(to, e)
	}
	for _, u := range usages {
		u.from.Poll = from.Poll
		d.derive(to, s.crossed(&u)...)
	}
}

// wouldCross says whether a usage gives an event, without saying it.
func (s *state) wouldCross(u usage) bool {
	probe := &state{rules: s.rules, said: map[string]bool{}}
	for _, e := range probe.crossed(&u) {
		if !s.said[e.ID] {
			return true
		}
	}
	return false
}

func sameReading(a, b *domain.AgentReading) bool {
	return a.Status == b.Status && a.Input == b.Input && a.Output == b.Output && reflect.DeepEqual(a.Limits, b.Limits)
}

// takeCosts records every cost: a snapshot is for reconciliation, and one that says "the same" says something.
func (s *state) takeCosts(d *drafts) {
	d.last()
	r := d.from
	slices.SortFunc(r.costs, func(a, b domain.CostReading) int { return cmp.Compare(a.ID, b.ID) })
	for _, row := range r.costs {
		c := s.cost(row.ID)
		c.advance(row, r.begun, s.rules)
		to := d.last()
		to.content.Costs = append(to.content.Costs, row)
		d.size += 80 + len(row.ID) + len(row.Cost) + len(row.Budget)
		threshold := json.Number("")
		if a := s.agents[row.ID]; a != nil && a.reading.Limits != nil {
			threshold = a.reading.Limits.Threshold
		}
		from := computedFrom{Poll: to.id.String(), ReadAt: written(r.begun)}
		for _, u := range s.rules.costBudget(c, threshold, r.begun, from) {
			d.derive(to, s.crossed(&u)...)
		}
	}
}

// fail decides what a poll that failed brings: a record of the gap, unless one of the same was written a short while
// ago. It changes nothing that is known of any agent.
func (s *state) fail(what string, begun, ended time.Time, code, message string, newID func() ulid.ULID) *draft {
	t := s.tracks[what]
	same := t.gap != nil && t.code == code && ended.Sub(t.recorded) < recordEvery
	if t.gap == nil {
		t.gap = &domain.PollGap{Since: t.readAt}
	}
	t.gap.Polls++
	t.polls++
	t.code, t.message = code, message
	if same {
		return nil
	}
	open := *t.gap
	f := &domain.SourcePolled{What: what, Outcome: domain.PollFailed, Begun: begun, Ended: ended, Config: s.rules.config,
		Polls: t.polls, Code: code, Gap: &open, Refused: s.refused}
	t.polls, t.recorded, s.refused = 0, ended, nil
	return &draft{id: newID(), fact: f, content: domain.PollContent{Message: message}}
}
