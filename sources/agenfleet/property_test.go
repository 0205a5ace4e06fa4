package agenfleet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"hookledger/domain"
)

// life is a poller's: what it recorded, and the state that it holds.
type life struct {
	rules   *rules
	state   *state
	records []*domain.Record
	content []domain.PollContent
	last    byte
}

func (l *life) newID() ulid.ULID { l.last++; return ulid.ULID{15: l.last, 14: byte(len(l.records))} }

// restart folds everything anew, as the next process does.
func (l *life) restart() {
	l.state = newState(l.rules)
	for i, r := range l.records {
		l.state.evolve(r, &l.content[i])
	}
}

func (l *life) take(r reading) {
	r.agents = slices.Clone(r.agents)
	for _, d := range l.state.take(&r, l.newID) {
		l.keep(d, r.ended)
	}
}

func (l *life) keep(d *draft, at time.Time) {
	raw, err := json.Marshal(d.content)
	if err != nil {
		panic(err)
	}
	var c domain.PollContent
	if err := json.Unmarshal(raw, &c); err != nil {
		panic(err)
	}
	l.records = append(l.records, &domain.Record{ID: d.id, RecordedAt: at, Fact: d.fact})
	l.content = append(l.content, c)
}

// said are its events: budgets by id, changes of status in order.
func (l *life) said(t *rapid.T) (budgets map[string]string, statuses []string) {
	budgets = map[string]string{}
	for _, c := range l.content {
		for _, e := range c.Derived {
			var data struct{ AgentID, From, To, Period, PeriodStart string }
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
			if e.Event == eventStatus {
				statuses = append(statuses, data.AgentID+" "+data.From+" "+data.To)
				continue
			}
			if budgets[e.ID] != "" {
				t.Fatalf("twice: %s", budgets[e.ID])
			}
			budgets[e.ID] = strings.Join([]string{e.Event, data.Period, data.AgentID, data.PeriodStart}, " ")
		}
	}
	return budgets, statuses
}

// zones are some in which midnight is missing, comes twice, or a whole day was left out, beside some plain ones.
var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/St_Johns",
	"Africa/Cairo", "Asia/Beirut", "Asia/Gaza", "America/Santiago", "Pacific/Apia", "Asia/Kathmandu",
	"America/Scoresbysund"}

// TestARestartSaysTheSame: a poller that restarts whenever it likes says what one says that never does, nothing twice,
// and what an oracle says from the readings; in any time zone, through polls that fail.
func TestARestartSaysTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		src := newSource(func(c *domain.SourceConfig) { c.TimeZone = rapid.SampledFrom(zones).Draw(t, "zone") })
		ru, err := newRules(src)
		if err != nil {
			t.Fatal(err)
		}
		steady, restless := &life{rules: ru, state: newState(ru)}, &life{rules: ru, state: newState(ru)}
		at := noon.Add(time.Duration(rapid.IntRange(0, 300*24).Draw(t, "start")) * time.Hour)
		const budget, share = 1000, "0.8"
		limits := &domain.AgentLimits{Daily: budget, Monthly: 3 * budget, Threshold: share}
		fleet := map[string]*domain.AgentReading{}
		for i := range rapid.IntRange(1, 3).Draw(t, "agents") {
			id := fmt.Sprintf("a%d", i)
			fleet[id] = &domain.AgentReading{ID: id, Status: "online", Limits: limits}
		}
		today := domain.DayOf(at, ru.loc)
		must, may := map[string]bool{}, map[string]bool{} // days on which 80 % were there: surely seen, and seen at all
		for range rapid.IntRange(10, 200).Draw(t, "polls") {
			at = at.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "step")) * time.Minute)
			d := domain.DayOf(at, ru.loc)
			for _, id := range []string{"a0", "a1", "a2"} {
				a := fleet[id]
				if a == nil {
					continue
				}
				if d.After(today) {
					a.Input, a.Output = 0, 0
				}
				a.Input += uint64(rapid.IntRange(0, 60).Draw(t, "in"))
				a.Output += uint64(rapid.IntRange(0, 20).Draw(t, "out"))
				a.Status = rapid.SampledFrom([]string{a.Status, a.Status, "online", "degraded", "offline"}).Draw(t, "status")
			}
			if d.After(today) {
				today = d
			}
			if rapid.IntRange(0, 9).Draw(t, "fails") == 0 {
				for _, l := range []*life{steady, restless} {
					if f := l.state.fail(domain.PollAgents, at, at, codeTimeout, "late", l.newID); f != nil {
						l.keep(f, at)
					}
				}
				continue
			}
			r := reading{what: domain.PollAgents, begun: at, ended: at.Add(time.Second)}
			for _, a := range fleet {
				row := *a
				row.ReadAt = at
				r.agents = append(r.agents, row)
				if tokens(a) >= 800 {
					key := strings.Join([]string{eventAlert, "daily", a.ID, written(today.Start(ru.loc))}, " ")
					may[key] = true
					must[key] = must[key] || at.Sub(today.Start(ru.loc)) >= resetGrace
				}
			}
			steady.take(r)
			if rapid.IntRange(0, 3).Draw(t, "restarts") == 0 {
				restless.restart()
			}
			restless.take(r)
		}
		one, oneStatus := steady.said(t)
		two, twoStatus := restless.said(t)
		if !slices.Equal(oneStatus, twoStatus) {
			t.Fatalf("changes of status:\n%v\n%v", oneStatus, twoStatus)
		}
		for _, all := range []map[string]string{one, two} {
			daily := map[string]bool{}
			for _, what := range all {
				if strings.HasPrefix(what, eventAlert+" daily") {
					daily[what] = true
					if !may[what] {
						t.Fatalf("said, and not so: %s", what)
					}
				}
				if strings.HasPrefix(what, eventExhausted+" monthly") {
					t.Fatalf("a month was exhausted on an estimate: %s", what)
				}
			}
			for what, sure := range must {
				if sure && !daily[what] {
					t.Fatalf("not said: %s", what)
				}
			}
		}
		folded := &life{rules: ru, records: steady.records, content: steady.content}
		folded.restart()
		for id, a := range steady.state.agents { // what is not recorded yet is growth of one counter, and nothing else
			if f := folded.state.agents[id]; a.used-(tokens(&a.reading)-tokens(&a.recorded)) != f.used {
				t.Fatalf("%s: the month's estimate is %d, and folded %d", id, a.used, f.used)
			}
		}
		for id, what := range two {
			if one[id] == "" && strings.Contains(what, "monthly") {
				t.Fatalf("the estimate grew by a restart: %s", what)
			}
		}
	})
}
