package agenfleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/sources/agenfleet/agenfleettest"
)

// clock is the time of a test.
type clock struct{ at time.Time }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

func TestAChangeOfStatusIsAnEventWithItsInterval(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	b := newBridge(t, c.now, nil)
	for i := range 142 { // more than one page
		b.fleet.Change(fmt.Sprintf("a%03d", i), func(*agenfleettest.Agent) {})
	}
	p := b.poller()
	b.agents(p)
	c.advance(time.Minute)
	b.agents(p)
	if got := b.events(); len(got) != 0 {
		t.Fatalf("a first reading is no change: %v", got)
	}
	c.advance(time.Minute)
	b.fleet.Change("a120", func(a *agenfleettest.Agent) { a.Status = "offline" })
	b.agents(p)
	c.advance(time.Minute)
	b.agents(p)
	got := b.events()
	if len(got) != 1 || got[0].Event != "agent.status_changed" || !got[0].At.Equal(noon.Add(2*time.Minute)) {
		t.Fatalf("%v", got)
	}
	poll := ""
	for _, r := range b.store.records() {
		if f, ok := r.Fact.(*domain.SourcePolled); ok && len(f.Derived) > 0 {
			poll = r.ID.String()
		}
	}
	want := `{"agentId":"a120","from":"online","to":"offline","observedBetween":["2026-03-17T12:01:00Z",` +
		`"2026-03-17T12:02:00Z"],"computedFrom":{"poll":"` + poll + `","readAt":"2026-03-17T12:02:00Z",` +
		`"fields":["status"],"values":["offline"]}}`
	if got[0].Raw != want {
		t.Errorf("got  %s\nwant %s", got[0].Raw, want)
	}
	if n := len(b.polls()); n > 5 {
		t.Errorf("%d records for four polls", n)
	}
}

func TestUsageOfBudgetsIsSaidOnceForAPeriod(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	b := newBridge(t, c.now, withCosts)
	b.fleet.Change("a", func(a *agenfleettest.Agent) {
		a.Daily, a.Monthly, a.Threshold, a.Cost, a.CostBudget = 1000, 30000, 0.8, "79.99", "100.00"
	})
	p := b.poller()
	use := func(in, out uint64, cost string) {
		t.Helper()
		b.fleet.Change("a", func(a *agenfleettest.Agent) {
			a.TokensInput, a.TokensOutput, a.Cost = in, out, json.Number(cost)
		})
		b.agents(p)
		b.costs(p)
		c.advance(time.Minute)
	}
	use(500, 299, "79.99")
	if got := b.events(); len(got) != 0 {
		t.Fatalf("one below: %v", got)
	}
	use(500, 300, "80.00")
	use(600, 399, "99.99")
	if got := b.kinds(); got["budget_alert a"] != 2 || len(b.events()) != 2 {
		t.Fatalf("80 %%: %v", b.events())
	}
	use(600, 400, "100")
	use(900, 900, "250.5")
	got := b.events()
	if len(got) != 4 || b.kinds()["budget_exhausted a"] != 2 {
		t.Fatalf("100 %%: %v", got)
	}
	for i, want := range []string{
		`{"agentId":"a","budget":1000,"spent":800,"threshold":0.8,"period":"daily","unit":"tokens",` +
			`"periodStart":"2026-03-17T00:00:00Z",`,
		`{"agentId":"a","budget":100.00,"spent":80.00,"threshold":0.8,"period":"monthly","unit":"money","currency":"USD",` +
			`"periodStart":"2026-03-01T00:00:00Z",`,
		`{"agentId":"a","budget":1000,"spent":1000,"period":"daily","unit":"tokens","periodStart":"2026-03-17T00:00:00Z",`,
		`{"agentId":"a","budget":100.00,"spent":100,"period":"monthly","unit":"money","currency":"USD",` +
			`"periodStart":"2026-03-01T00:00:00Z",`,
	} {
		if !strings.HasPrefix(got[i].Raw, want) {
			t.Errorf("got  %s\nwant %s…", got[i].Raw, want)
		}
	}
	// The next day is another period of the tokens, and none of the money.
	c.at = time.Date(2026, 3, 18, 0, 5, 0, 0, time.UTC)
	use(900, 900, "251") // not reset yet: still yesterday's
	use(0, 0, "251")
	use(700, 200, "251")
	if got := b.events()[4:]; len(got) != 1 || !strings.Contains(got[0].Raw, `"periodStart":"2026-03-18T00:00:00Z"`) {
		t.Errorf("the next day: %v", got)
	}
}

func TestAMonthIsEstimatedAndNeverExhausted(t *testing.T) {
	t.Parallel()
	c := &clock{time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	b := newBridge(t, c.now, nil)
	b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Monthly, a.Threshold = 1000, 0.5 })
	p := b.poller()
	for d := range 20 {
		c.at = time.Date(2026, 3, 1+d, 9, 0, 0, 0, time.UTC)
		b.fleet.Change("a", func(a *agenfleettest.Agent) { a.TokensInput = 10 })
		b.agents(p)
		c.at = time.Date(2026, 3, 1+d, 23, 59, 30, 0, time.UTC)
		if d == 2 {
			continue // the poller sleeps through an evening
		}
		b.fleet.Change("a", func(a *agenfleettest.Agent) { a.TokensInput = 100 })
		b.agents(p)
	}
	got := b.events()
	if len(got) != 1 || got[0].Event != "agent.budget_alert" {
		t.Fatalf("%v", got)
	}
	e := got[0]
	// At least: 100, 100, 10, 90 more, 100, 100.
	if e.Data["estimated"] != true || e.Data["period"] != "monthly" || e.Data["spent"] != 500.0 ||
		!strings.Contains(e.Raw, `"gaps":[{"from":"2026-03-03T09:00:00Z","to":"2026-03-04T00:00:00Z"}]`) {
		t.Errorf("%s", e.Raw)
	}
}

// TestABadPollIsAGap: whatever comes back, it is recorded as a gap with a code, a text that names the place and the
// fix, and never as a status; what comes next goes on from the reading before.
func TestABadPollIsAGap(t *testing.T) {
	t.Parallel()
	body := func(status int, text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/api/agents" {
				return false
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return true
		}
	}
	rows := func(rows, page string) func(http.ResponseWriter, *http.Request) bool {
		return body(200, `{"data":[`+rows+`],"pagination":{`+page+`}}`)
	}
	const one = `{"id":"a","status":"offline","tokensTodayInput":1,"tokensTodayOutput":2}`
	const page = `"total":1,"limit":100,"offset":0,"hasMore":false`
	for name, bad := range map[string]struct {
		fault      func(http.ResponseWriter, *http.Request) bool
		code, text string
	}{
		"garbage":      {body(200, "\x00\x01\x02"), codeNotJSON, "byte 0"},
		"empty":        {body(200, ""), codeNotJSON, "empty body"},
		"HTML":         {body(200, "<!doctype html><html>"), codeNotJSON, "https://api.agenfleet.ai/api"},
		"half a page":  {body(200, `{"data":[`+one+`,{"id":"b","sta`), codeNotJSON, "no whole JSON"},
		"a list":       {body(200, `[]`), codeShape, "not an object"},
		"another API":  {body(200, `{"agents":[]}`), codeShape, "no list at /data"},
		"no paging":    {body(200, `{"data":[]}`), codeShape, "/pagination/total"},
		"paging":       {rows(one, `"total":"1","offset":0,"hasMore":false`), codeShape, "/pagination/total"},
		"more":         {rows(one, `"total":1,"offset":0,"hasMore":"no"`), codeShape, "/pagination/hasMore"},
		"row":          {rows(`7`, page), codeShape, "row 1 of GET /agents at offset 0 is 7"},
		"no id":        {rows(`{"status":"online"}`, page), codeShape, "row 1 of GET /agents at offset 0: /id is missing"},
		"status":       {rows(`{"id":"a","status":"asleep"}`, page), codeShape, `"asleep", not online, degraded or offline`},
		"tokens":       {rows(strings.Replace(one, ":1,", ":-1,", 1), page), codeShape, "/tokensTodayInput is -1"},
		"token text":   {rows(strings.Replace(one, ":2}", `:"2"}`, 1), page), codeShape, "--field tokensTodayOutput="},
		"no tokens":    {rows(`{"id":"a","status":"online"}`, page), codeShape, "/tokensTodayInput is missing"},
		"threshold":    {rows(one[:len(one)-1]+`,"config":{"limits":{"alertThreshold":80}}}`, page), codeShape, "0 to 1"},
		"too few":      {rows(one, `"total":9,"limit":100,"offset":0,"hasMore":false`), codeIncomplete, "1 rows"},
		"twice":        {rows(one+","+one, `"total":2,"limit":100,"offset":0,"hasMore":false`), codeIncomplete, "row 2"},
		"a page loop":  {rows(one, `"total":9,"limit":100,"offset":0,"hasMore":true`), codeLoop, "circle"},
		"no end":       {rows("", `"total":9,"limit":100,"offset":0,"hasMore":true`), codeLoop, "no rows"},
		"500":          {body(500, `{"error":"Platform error"}`), codeStatus, "500 (Platform error)"},
		"older errors": {body(503, `{"error":{"code":"X","message":"later","statusCode":503}}`), codeStatus, "(later)"},
		"redirect":     {body(302, ""), codeStatus, "302"},
		"401":          {body(401, `{"error":"Missing or invalid token"}`), codeAuth, "credentials"},
		"403":          {body(403, `{"error":"scope"}`), codeAuth, "(scope)"},
		"429":          {body(429, `{"error":"Too many requests"}`), codeLimited, "rate_limit"},
		"a timeout": {func(w http.ResponseWriter, _ *http.Request) bool {
			agenfleettest.Break(w, context.DeadlineExceeded)
			return true
		}, codeTimeout, "in time"},
		"refused": {func(w http.ResponseWriter, _ *http.Request) bool {
			agenfleettest.Break(w, errors.New("connection refused"))
			return true
		}, codeRequest, "refused"},
		"denied address": {func(w http.ResponseWriter, _ *http.Request) bool {
			agenfleettest.Break(w, domain.Refuse(domain.KindInvalid, "blocked_address", "not public", "--allow-cidr"))
			return true
		}, codeBlocked, "--allow-cidr"},
		"login": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/api/agents" {
				return false
			}
			w.WriteHeader(401)
			return true
		}, codeAuth, "log in"},
		"login without a token": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/api/auth/login" {
				return false
			}
			_, _ = io.WriteString(w, `{"jwt":"x"}`)
			return true
		}, codeShape, "--field token="},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &clock{noon}
			b := newBridge(t, c.now, nil)
			b.fleet.Change("a", func(*agenfleettest.Agent) {})
			b.agents(b.poller())
			c.advance(time.Minute)
			b.fleet.Fault(bad.fault)
			b.fleet.ExpireTokens()
			p := b.poller()
			b.agents(p)
			all := b.polls()
			last := all[len(all)-1]
			if last.Outcome != domain.PollFailed || last.Code != bad.code || !strings.Contains(b.message(last), bad.text) ||
				last.Gap == nil || !last.Gap.Since.Equal(noon) || !last.Gap.Until.IsZero() {
				t.Fatalf("want %s %q: %+v: %s", bad.code, bad.text, last, b.message(last))
			}
			if text := b.message(last); strings.Contains(text, "eyJ") || strings.Contains(text, "fleet\"") {
				t.Errorf("it shows a secret: %s", text)
			}
			for range 4 { // the same again is no record of its own
				c.advance(time.Minute)
				b.agents(p)
			}
			if n := len(b.polls()); n != len(all) {
				t.Errorf("%d records, then %d", len(all), n)
			}
			b.fleet.Fault(nil)
			b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Status = "degraded" })
			c.advance(20 * time.Minute)
			b.agents(b.poller())
			all = b.polls()
			end := all[len(all)-1]
			for i := len(all) - 1; end.Gap == nil && i > 0; i-- {
				end = all[i]
			}
			if end.Outcome != domain.PollOK || !end.Gap.Since.Equal(noon) || !end.Gap.Until.Equal(c.at) {
				t.Errorf("the gap's end: %+v %+v", end, end.Gap)
			}
			got := b.events()
			if len(got) != 1 || got[0].Data["from"] != "online" || got[0].Data["to"] != "degraded" ||
				fmt.Sprint(got[0].Data["observedBetween"]) != "[2026-03-17T12:00:00Z 2026-03-17T12:25:00Z]" {
				t.Errorf("events: %v", got)
			}
		})
	}
}

// TestTwoPollersSayNothingTwice: they poll in turns, one dies between its record and its events, and the ledger shows
// each event once.
func TestTwoPollersSayNothingTwice(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	b := newBridge(t, c.now, nil)
	b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Daily, a.Threshold = 100, 0.5 })
	one, two := b.poller(), b.poller()
	b.agents(one)
	b.agents(two)
	died := errors.New("died")
	status := []string{"online", "degraded", "offline"}
	for i := range 12 {
		c.advance(time.Minute)
		b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Status, a.TokensInput = status[(i+1)%3], uint64(20*i) })
		if i%4 == 3 { // it dies before it posts
			b.store.fate(func(s domain.Stream, _ []domain.Record) error {
				if s.Category() == domain.CategoryEvent {
					return died
				}
				return nil
			}, nil)
			if _, err := one.pollAgents(t.Context()); !errors.Is(err, died) {
				t.Fatalf("it did not die: %v", err)
			}
			b.store.fate(nil, nil)
			one = b.poller()
		} else {
			b.agents(one)
		}
		c.advance(time.Second)
		b.agents(two)
		c.advance(time.Second)
		b.agents(one)
	}
	want := map[string]int{"status_changed a": 12, "budget_alert a": 1, "budget_exhausted a": 1}
	if got := b.kinds(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	from := "online"
	for _, e := range b.events() {
		if e.Event == eventStatus {
			if e.Data["from"] != from {
				t.Errorf("a change from %v after one to %s", e.Data["from"], from)
			}
			from = fmt.Sprint(e.Data["to"])
		}
	}
}

// TestAmbiguousAppendsAreSettled: an append that was reported as unknown, or lost to another, is decided on once.
func TestAmbiguousAppendsAreSettled(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	b := newBridge(t, c.now, nil)
	b.fleet.Change("a", func(*agenfleettest.Agent) {})
	p := b.poller()
	b.agents(p)
	c.advance(time.Minute)
	b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Status = "offline" })
	n := 0
	b.store.fate(nil, func(domain.Stream, []domain.Record) error {
		if n++; n%2 == 1 {
			return ledger.ErrUnknownOutcome
		}
		return nil
	})
	b.agents(p)
	b.store.fate(nil, nil)
	if got := b.events(); len(got) != 1 || len(b.polls()) != 2 {
		t.Errorf("%v, %d records", got, len(b.polls()))
	}
}

// TestErasedReadingsAreForgottenAndNothingIsSaidTwice: after an erasure an agent's next reading is its first, and
// budgets that were said stay said.
func TestErasedReadingsAreForgottenAndNothingIsSaidTwice(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	b := newBridge(t, c.now, nil)
	b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Daily, a.Threshold, a.TokensInput = 100, 0.5, 70 })
	b.agents(b.poller())
	b.vault.erased = true
	c.advance(time.Minute)
	b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Status, a.TokensInput = "offline", 80 })
	b.agents(b.poller())
	if got := b.kinds(); len(got) != 1 || got["budget_alert a"] != 1 {
		t.Errorf("%v", got)
	}
}

// TestWhatIsRefusedIsSaidInTheNextRecord: a tenant whose own schema does not take the derived event.
func TestWhatIsRefusedIsSaidInTheNextRecord(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	b := newBridge(t, c.now, nil, &domain.EventTypeRegistered{Type: eventStatus, Version: 2,
		Schema: []byte(`{"type":"object","required":["nope"]}`)})
	b.fleet.Change("a", func(*agenfleettest.Agent) {})
	p := b.poller()
	b.agents(p)
	b.fleet.Change("a", func(a *agenfleettest.Agent) { a.Status = "offline" })
	c.advance(time.Minute)
	b.agents(p)
	c.advance(time.Minute)
	b.agents(p)
	all := b.polls()
	last := all[len(all)-1]
	if len(last.Refused) != 1 || last.Refused[0].Code != "schema_mismatch" || len(all[len(all)-2].Derived) != 1 ||
		last.Refused[0].ID != all[len(all)-2].Derived[0].ID {
		t.Errorf("%+v", last)
	}
}

// TestALargeFleetFitsIntoAppends: every reading is recorded, in as many records as it takes.
func TestALargeFleetFitsIntoAppends(t *testing.T) {
	t.Parallel()
	c := &clock{noon}
	b := newBridge(t, c.now, withCosts)
	const n = 1500
	all := make([]domain.AgentReading, n)
	costs := make([]domain.CostReading, n)
	for i := range all {
		id := fmt.Sprintf("%s%05d", strings.Repeat("x", 200), i)
		all[i] = domain.AgentReading{ID: id, ReadAt: noon, Status: "online", Input: 900,
			Limits: &domain.AgentLimits{Daily: 100, Monthly: 100, Threshold: "0.5"}}
		costs[i] = domain.CostReading{ID: id, Cost: "9", Budget: "1"}
	}
	p := b.poller()
	for _, r := range []*reading{{what: domain.PollAgents, begun: noon, ended: noon, agents: all},
		{what: domain.PollCosts, begun: noon, ended: noon, costs: costs}} {
		if err := p.book.take(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(b.events()); got != 5*n || len(b.polls()) < 8 {
		t.Errorf("%d events, %d records", got, len(b.polls()))
	}
	again := b.poller()
	if err := again.book.load(t.Context()); err != nil || len(again.book.state.agents) != n ||
		len(again.book.state.costs) != n {
		t.Errorf("folded anew: %v", err)
	}
}
