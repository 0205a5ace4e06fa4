package reconcile

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hookledger/domain"
)

const (
	seeds       = 50
	faultsEach  = 20
	eventsBySet = 400
)

// TestPlantedFaultsAreFoundAndNothingElse plants 20 faults of each kind for each of 50 seeds, on each side that the
// ledger is compared with.
func TestPlantedFaultsAreFoundAndNothingElse(t *testing.T) {
	t.Parallel()
	for seed := range uint64(seeds) {
		for name, plant := range map[string]func(*testing.T, *rand.Rand){"billing by event": billingByEvent,
			"billing by total": billingByTotal, "receiver": receiverFaults, "endpoints": endpointFaults,
			"agenfleet": costFaults} {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				t.Parallel()
				plant(t, rand.New(rand.NewPCG(seed, 7)))
			})
		}
	}
}

// picks gives disjoint sets of events.
func picks(rng *rand.Rand, l *fake, sets int) [][]*Event {
	shuffled := slices.Clone(l.events)
	rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	var out [][]*Event
	for i := range sets {
		out = append(out, shuffled[i*faultsEach:(i+1)*faultsEach])
	}
	return out
}

// line is a row of billing's.
type line struct {
	EventID  string      `json:"event_id,omitempty"`
	Agent    string      `json:"agent_id"`
	Period   string      `json:"period"`
	Start    time.Time   `json:"period_start"`
	Unit     string      `json:"unit"`
	Currency string      `json:"currency"`
	Spent    json.Number `json:"spent"`
	Received time.Time   `json:"received_at,omitzero"`
}

func lineOf(e *Event) line {
	var b struct {
		AgentID     string      `json:"agentId"`
		Period      string      `json:"period"`
		PeriodStart time.Time   `json:"periodStart"`
		Unit        string      `json:"unit"`
		Currency    string      `json:"currency"`
		Spent       json.Number `json:"spent"`
	}
	if err := json.Unmarshal(e.Data, &b); err != nil {
		panic(err)
	}
	return line{EventID: e.ID, Agent: b.AgentID, Period: b.Period, Start: b.PeriodStart, Unit: b.Unit,
		Currency: b.Currency, Spent: b.Spent, Received: e.Received.Add(time.Minute)}
}

func (b *line) otherUnit() {
	if b.Unit == "money" {
		b.Unit, b.Currency = "tokens", ""
	} else {
		b.Unit, b.Currency = "money", "USD"
	}
}

// file writes rows in either format.
func file(t *testing.T, rng *rand.Rand, lines []line) *File {
	t.Helper()
	rng.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	var b bytes.Buffer
	format := FormatNDJSON
	if rng.IntN(2) == 0 {
		for _, l := range lines {
			raw, _ := json.Marshal(l)
			b.Write(append(raw, '\n'))
		}
	} else {
		format = FormatCSV
		w := csv.NewWriter(&b)
		head := []string{"agent_id", "period", "period_start", "unit", "currency", "spent"}
		byEvent := lines[0].EventID != ""
		if byEvent {
			head = append(head, "event_id", "received_at")
		}
		_ = w.Write(head)
		for _, l := range lines {
			row := []string{l.Agent, l.Period, timeText(l.Start), l.Unit, l.Currency, l.Spent.String()}
			if byEvent {
				row = append(row, l.EventID, timeText(l.Received))
			}
			_ = w.Write(row)
		}
		w.Flush()
	}
	f, err := ReadFile(domain.AgainstBilling, format, "UTC", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func billingByEvent(t *testing.T, rng *rand.Rand) {
	l := history(rng, eventsBySet)
	sets := picks(rng, l, 5)
	in := func(i int, e *Event) bool { return slices.Contains(sets[i], e) }
	var lines []line
	var want []string
	for _, e := range l.events {
		b, kind := lineOf(e), ""
		switch {
		case in(0, e):
			want = append(want, "missing billing "+e.ID)
			continue
		case in(1, e):
			kind = Duplicate
			lines = append(lines, b)
		case in(2, e):
			kind, b.Received = Late, e.Received.Add(DefaultLateAfter+time.Duration(1+rng.IntN(1e9)))
		case in(3, e):
			kind, b.Spent = Differs, b.Spent+"1"
			if b.Unit == "money" {
				b.Spent = lineOf(e).Spent + "01"
			}
		case in(4, e):
			kind = Differs
			b.otherUnit()
		}
		if kind != "" {
			want = append(want, kind+" billing "+e.ID)
		}
		lines = append(lines, b)
	}
	for i := range faultsEach {
		b := lineOf(l.events[i])
		b.EventID = fmt.Sprintf("evt_extra_%d", i)
		lines, want = append(lines, b), append(want, "extra billing "+b.EventID)
	}
	s := Spec{Rules: rules(), File: file(t, rng, lines)}
	s.Rules.Against = domain.AgainstBilling
	r := compute(t, l, s)
	same(t, "by event", found(r), want)
	for _, f := range r.Findings {
		if len(f.Proof) == 0 || f.Detail == "" || f.Kind == Differs && len(f.Differences) != 1 {
			t.Errorf("not proven: %+v", f)
		}
	}
	if again := compute(t, l, s); again.Digest != r.Digest {
		t.Error("the digest is another the second time")
	}
}

func billingByTotal(t *testing.T, rng *rand.Rand) {
	l := history(rng, eventsBySet)
	sets := picks(rng, l, 4)
	in := func(i int, e *Event) bool { return slices.Contains(sets[i], e) }
	var lines []line
	var want []string
	for i, e := range l.events {
		b := lineOf(e)
		b.EventID, b.Received = "", time.Time{}
		switch {
		case in(0, e):
			want = append(want, "missing billing "+e.ID)
			continue
		case in(1, e):
			lines, want = append(lines, b), append(want, "duplicate billing "+e.ID)
		case in(2, e):
			b.Spent = "7" + b.Spent
			want = append(want, "differs billing "+e.ID)
		case in(3, e):
			b.otherUnit()
			want = append(want, "differs billing "+e.ID)
		}
		lines = append(lines, b)
		if i < faultsEach {
			b.Agent = fmt.Sprintf("nobody_%d", i)
			lines, want = append(lines, b), append(want, "extra billing "+b.Agent)
		}
	}
	s := Spec{Rules: rules(), File: file(t, rng, lines)}
	s.Rules.Against = domain.AgainstBilling
	same(t, "by total", found(compute(t, l, s)), want)
}

func receiverFaults(t *testing.T, rng *rand.Rand) {
	l := history(rng, eventsBySet)
	sets := picks(rng, l, 6)
	in := func(i int, e *Event) bool { return slices.Contains(sets[i], e) }
	var b bytes.Buffer
	b.WriteString("webhook_id,received_at\n")
	var want []string
	row := func(id string, at time.Time) { fmt.Fprintf(&b, "%s,%s\n", id, timeText(at)) }
	for _, e := range l.events {
		d := &e.Deliveries[0]
		at, kind := d.Confirmed[0].At, ""
		switch {
		case in(0, e):
			want = append(want, "missing receiver "+e.ID)
			continue
		case in(1, e):
			kind = Duplicate
			row(e.ID, at.Add(time.Second))
		case in(2, e):
			kind, at = Late, e.Received.Add(DefaultLateAfter+time.Second)
		case in(3, e): // not confirmed, and yet there
			kind, d.Confirmed = Differs, nil
		case in(4, e): // neither
			d.Confirmed = nil
			want = append(want, "missing receiver "+e.ID)
			continue
		case in(5, e): // confirmed twice, and once there
			kind, d.Confirmed = Duplicate, append(d.Confirmed, Confirmation{"att_again", at.Add(time.Hour)})
		}
		if kind != "" {
			want = append(want, kind+" receiver "+e.ID)
		}
		row(e.ID, at)
	}
	for i := range faultsEach {
		id := fmt.Sprintf("evt_extra_%d", i)
		row(id, march)
		want = append(want, "extra receiver "+id)
	}
	other := l.event(march.AddDate(0, 2, 0), "later", "daily", "tokens", "", "1")
	row(other.ID, other.Received)
	f, err := ReadFile(domain.AgainstReceiver, FormatCSV, "UTC", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	s := Spec{Rules: rules(), File: f}
	s.Rules.Against, s.Rules.Endpoints = domain.AgainstReceiver, []string{ep1}
	r := compute(t, l, s)
	same(t, "receiver", found(r), want)
	if r.Outside != 1 {
		t.Errorf("%d rows are outside of the period, 1 is", r.Outside)
	}
}

// endpointFaults: what is wrong with deliveries and with what producers posted is found without any other side.
func endpointFaults(t *testing.T, rng *rand.Rand) {
	l := history(rng, eventsBySet)
	var want []string
	for i, set := range picks(rng, l, 5) {
		for _, e := range set {
			d := &e.Deliveries[rng.IntN(2)]
			kind := Missing
			switch i {
			case 0:
				d.Confirmed = nil
			case 1:
				d.Confirmed, d.Ended = nil, false
			case 2:
				kind, d.Confirmed[0].At = Late, e.Received.Add(DefaultLateAfter+1)
			case 3:
				kind, d.Confirmed = Duplicate, append(d.Confirmed, d.Confirmed[0])
			case 4: // the same, posted under another id
				again := *e
				again.ID += "_again"
				l.events = append(l.events, &again)
				want = append(want, "duplicate ledger "+again.ID)
				continue
			}
			want = append(want, kind+" endpoint "+e.ID)
		}
	}
	r := compute(t, l, Spec{Rules: rules()})
	same(t, "endpoints", found(r), want)
	totals := r.Totals
	if totals.Failed != faultsEach || totals.Pending != faultsEach || totals.Late != faultsEach ||
		totals.Duplicates != 2*faultsEach || totals.Events != eventsBySet+faultsEach || r.Balanced() {
		t.Errorf("%+v", totals)
	}
}

// costFaults: hourly readings of costs that rise through a budget, and the event that says so.
func costFaults(t *testing.T, rng *rand.Rand) {
	l := &fake{}
	const agents, hours = 6 * faultsEach, 48
	cost := func(agent, hour int) int { return 10 * (hour + agent%5) }
	limit := func(agent int) int { return 10 * (20 + agent%20) }
	crossed := func(agent int) int { return 20 + agent%20 - agent%5 }
	at := func(hour int) time.Time { return march.Add(time.Duration(hour)*time.Hour + 90*time.Minute) }
	for hour := range hours {
		c := &Costs{At: at(hour), Record: fmt.Sprintf("poll_%d", hour), Currency: "USD", Period: "monthly",
			Location: time.UTC, Grace: time.Hour}
		for agent := range agents {
			c.Agents = append(c.Agents, domain.CostReading{ID: fmt.Sprint("a", agent),
				Cost: json.Number(fmt.Sprint(cost(agent, hour))), Budget: json.Number(fmt.Sprint(limit(agent)))})
		}
		l.costs = append(l.costs, c)
	}
	var want []string
	order := rng.Perm(agents)
	for i, agent := range order {
		kind := i / faultsEach
		spent, budget, when := cost(agent, crossed(agent)), limit(agent), at(crossed(agent))
		currency, name := "USD", fmt.Sprint("a", agent)
		var fault string
		switch kind {
		case 0:
			want = append(want, "missing ledger "+name)
			continue
		case 1:
			fault, spent = Differs, spent+1+rng.IntN(50)
		case 2:
			fault, currency = Differs, "EUR"
		case 3:
			fault, when, spent = Late, when.Add(time.Hour), spent+10
		case 4:
			fault, budget = Differs, budget-1
		}
		e := l.event(when, name, "monthly", "money", currency, fmt.Sprint(spent))
		e.Type = "agent.budget_exhausted"
		e.Data = bytes.Replace(e.Data, []byte(`"budget":1000000`), fmt.Appendf(nil, `"budget":%d`, budget), 1)
		if fault != "" {
			want = append(want, fault+" agenfleet "+e.ID)
		}
	}
	for i := range faultsEach {
		early := march.Add(time.Duration(2+i) * time.Hour)
		e := l.event(early, fmt.Sprint("nobody", i), "monthly", "money", "USD", "5")
		want = append(want, "extra agenfleet "+e.ID)
		l.event(early, fmt.Sprint("a", i), "daily", "tokens", "", "5") // says nothing of money
	}
	s := Spec{Rules: rules()}
	s.Rules.Against, s.Rules.Source = domain.AgainstAgenFleet, "src_1"
	same(t, "agenfleet", found(compute(t, l, s)), want)
}
