package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// spend is a post of a budget event.
func spend(id, agent, at, spent string) string {
	return fmt.Sprintf(`{"id":%q,"event":"agent.budget_alert","timestamp":%q,"data":{"agentId":%q,"budget":300000,
		"spent":%s,"threshold":0.8,"period":"daily","unit":"tokens","periodStart":"2026-03-17T00:00:00Z"}}`, id, at, agent,
		spent)
}

func (s *stack) reconcile(key string, status int, ask map[string]any) Reconciliation {
	s.t.Helper()
	for name, v := range map[string]any{"period": "2026-03", "by": "event"} {
		if ask[name] == nil {
			ask[name] = v
		}
	}
	return into[Reconciliation](s.call(key, "POST", "/v1/reconciliations", ask).want(status, ""))
}

// TestReconciliationIsFixedAtARecord: what comes later changes no digest of it, and is an adjustment of the next.
func TestReconciliationIsFixedAtARecord(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key, auditor := s.key("default", domain.RoleAdmin), s.key("default", domain.RoleAuditor)
	post := func(id, agent, at, spent string) {
		s.call(key, "POST", "/v1/events", spend(id, agent, at, spent)).want(202, "")
	}
	post("b1", "atlas", "2026-03-17T10:00:00Z", "240000.5")
	post("b2", "atlas", "2026-03-17T11:00:00Z", "260000.75")
	post("b3", "nova", "2026-03-17T11:00:00Z", "250000")
	post("other", "nova", "2026-04-17T11:00:00Z", "1")
	head := s.store.Head()
	dry := s.reconcile(auditor, 200, map[string]any{"dry_run": true})
	if !dry.Balanced || dry.Totals.Events != 3 || len(dry.Report.Accounts) != 2 || len(dry.Amounts) != 1 ||
		dry.Amounts[0].Spent != "510000.75" || dry.Amounts[0].Accounts != 2 || dry.ID != "" || s.store.Head() != head {
		t.Errorf("%+v", dry)
	}
	made := s.reconcile(auditor, 201, map[string]any{"id": "rcn_march", "reason": "the month is closed"})
	if made.Digest != dry.Digest || !made.Closes || made.Closed != "" || made.TZ != "UTC" || made.Reason == "" {
		t.Errorf("%+v", made)
	}
	post("b4", "atlas", "2026-03-17T12:00:00Z", "299999")
	again := s.reconcile(auditor, 200, map[string]any{"id": "rcn_march", "reason": "the month is closed"})
	if again.Digest != made.Digest || !again.CreatedAt.Equal(made.CreatedAt) || again.Report.Groups == nil {
		t.Errorf("%+v", again)
	}
	s.call(key, "POST", "/v1/reconciliations", map[string]any{"id": "rcn_march", "period": "2026-02"}).
		want(409, "reconciliation_exists")
	then := s.reconcile(auditor, 200, map[string]any{"as_of": made.AsOf, "dry_run": true})
	if then.Digest != made.Digest {
		t.Errorf("as of then: %+v", then)
	}
	now := s.reconcile(auditor, 201, map[string]any{})
	if a := now.Report.Adjustments; now.Closed != "rcn_march" || len(a) != 1 || a[0].EventID != "b4" ||
		a[0].Spent.String() != "299999" || now.Amounts[0].Spent != "549999" || now.Totals.Adjustments != 1 {
		t.Errorf("%+v", now)
	}
	read := into[Reconciliation](s.call(auditor, "GET", "/v1/reconciliations/rcn_march", nil).want(200, ""))
	if read.Digest != made.Digest || read.Amounts[0].Spent != "510000.75" || read.Report != nil {
		t.Errorf("%+v", read)
	}
	list := into[List[Reconciliation]](s.call(auditor, "GET", "/v1/reconciliations", nil).want(200, ""))
	if len(list.Data) != 2 || list.Data[0].ID != now.ID || list.Data[1].ID != "rcn_march" {
		t.Errorf("%+v", list)
	}
}

// TestReconciliationAgainstFiles: billing's rows and a receiver's list, and the deliveries that have not arrived.
func TestReconciliationAgainstFiles(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	for i, spent := range []string{"10", "20", "30"} {
		post := spend(fmt.Sprint("b", i), fmt.Sprint("a", i), "2026-03-17T10:00:00Z", spent)
		s.call(key, "POST", "/v1/events", post).want(202, "")
	}
	got := s.reconcile(key, 201, map[string]any{"against": "billing", "tolerance": "0.5",
		"file": "event_id,unit,currency,spent\nb0,tokens,,10.5\nb1,money,USD,20\nb9,tokens,,5\nb0,tokens,,10\n"})
	kinds := got.Totals.Findings
	if got.Balanced || len(got.Report.Findings) != 4 || kinds["differs"] != 1 || kinds["missing"] != 1 ||
		kinds["extra"] != 1 || kinds["duplicate"] != 1 || got.FileRows != 4 {
		t.Errorf("%+v\n%+v", got.Totals, got.Report.Findings)
	}
	got = s.reconcile(key, 201, map[string]any{"against": "billing", "format": "ndjson", "file": `{"agent_id":"a0",` +
		`"period":"daily","period_start":"2026-03-17","unit":"tokens","spent":10}`})
	if got.Totals.Findings["missing"] != 2 || len(got.Report.Findings) != 2 {
		t.Errorf("%+v", got.Report.Findings)
	}
	e := s.endpoint(key, map[string]any{})
	s.call(key, "POST", "/v1/events", spend("b3", "a3", "2026-03-17T10:00:00Z", "40")).want(202, "")
	got = s.reconcile(key, 201, map[string]any{})
	if f := got.Report.Findings; len(f) != 1 || f[0].Kind != "missing" || f[0].Endpoint != e.ID || len(f[0].Proof) != 3 ||
		got.Totals.Pending != 1 {
		t.Errorf("%+v", got.Report.Findings)
	}
	got = s.reconcile(key, 201, map[string]any{"against": "receiver", "endpoint_ids": []string{e.ID},
		"file": "webhook_id\nb3\nb0\nnone\n"})
	if k := got.Totals.Findings; k["differs"] != 1 || k["extra"] != 2 || len(got.Report.Findings) != 3 {
		t.Errorf("%+v", got.Report.Findings)
	}
}

// TestDeliveriesCountAsOfTheRecord: what is confirmed later is not seen at an earlier record, in a later run it is.
func TestDeliveriesCountAsOfTheRecord(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	s.endpoint(key, map[string]any{})
	now := time.Now().UTC()
	post := spend("b1", "atlas", now.Format(time.RFC3339), "1")
	receipt := into[Receipt](s.call(key, "POST", "/v1/events", post).want(202, ""))
	ask := func(asOf string) Reconciliation {
		return into[Reconciliation](s.call(key, "POST", "/v1/reconciliations", map[string]any{"as_of": asOf,
			"from": now.Add(-time.Hour), "to": now.Add(time.Hour)}).want(201, ""))
	}
	before := ask("")
	d := receipt.Deliveries[0]
	attempt := s.attempt("default", "b1", d.EndpointID, d.ID)
	after, again := ask(""), ask(before.AsOf)
	if before.Totals.Pending != 1 || before.Balanced || after.Totals.Delivered != 1 || !after.Balanced || after.Closes {
		t.Errorf("%+v\n%+v", before.Totals, after.Totals)
	}
	if again.Digest != before.Digest || again.Totals.Pending != 1 || after.Digest == before.Digest {
		t.Errorf("as of then: %+v", again.Totals)
	}
	got := into[Reconciliation](s.call(key, "POST", "/v1/reconciliations", map[string]any{"against": "receiver",
		"from": now.Add(-time.Hour), "to": now.Add(time.Hour), "endpoint_ids": []string{d.EndpointID},
		"file": "webhook_id\n"}).want(201, ""))
	f := got.Report.Findings
	if len(f) != 1 || f[0].Kind != "missing" || f[0].Proof[2] != d.ID || f[0].Proof[3] != attempt {
		t.Errorf("%+v", f)
	}
}

// TestReconciliationAfterARemovalAndAnErasure: an endpoint's removal is the end of what waited there, at any record
// behind it; what was erased is counted, and an earlier run that had read it is not claimed to be the same.
func TestReconciliationAfterARemovalAndAnErasure(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	e := s.endpoint(key, map[string]any{})
	s.call(key, "POST", "/v1/events", spend("b1", "atlas", "2026-03-17T10:00:00Z", "1")).want(202, "")
	pending := s.reconcile(key, 201, map[string]any{"id": "rcn_before"})
	s.call(key, "DELETE", "/v1/endpoints/"+e.ID, nil).want(204, "")
	failed := s.reconcile(key, 201, map[string]any{})
	if pending.Totals.Pending != 1 || failed.Totals.Failed != 1 || failed.Totals.Pending != 0 {
		t.Errorf("%+v\n%+v", pending.Totals, failed.Totals)
	}
	if again := s.reconcile(key, 200, map[string]any{"id": "rcn_before"}); again.Digest != pending.Digest {
		t.Errorf("as of before the removal: %+v", again.Totals)
	}
	for r, err := range s.store.ReadStream(t.Context(), domain.EventStream("default", "b1"), 0) {
		if f, ok := r.Fact.(*domain.EventReceived); ok && err == nil {
			err = s.vault.Destroy(t.Context(), f.Content.KeyID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.call(key, "POST", "/v1/reconciliations", map[string]any{"id": "rcn_before", "period": "2026-03", "by": "event"}).
		want(409, "report_changed")
	erased := s.reconcile(key, 201, map[string]any{})
	kept := into[Reconciliation](s.call(key, "GET", "/v1/reconciliations/rcn_before", nil).want(200, ""))
	if erased.Totals.Erased != 1 || len(erased.Amounts) != 0 || kept.Digest != pending.Digest {
		t.Errorf("%+v\n%+v", erased.Totals, kept)
	}
}

// TestGapsInNumbers: "nothing is missing between 100 and 200" is answered.
func TestGapsInNumbers(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	for n := 98; n <= 202; n++ {
		if n == 150 || n == 151 || n == 200 {
			continue
		}
		post := example(fmt.Sprint("n", n))
		post["source"], post["sequence"] = "core", n
		s.call(key, "POST", "/v1/events", post).want(202, "")
	}
	ask := func(from, to uint64) Reconciliation {
		return s.reconcile(key, 201, map[string]any{"numbered": map[string]any{"source": "core", "from": from, "to": to}})
	}
	if got := ask(100, 149); !got.Balanced || !got.Report.Gaps.Complete || got.Report.Gaps.Present != 50 {
		t.Errorf("%+v", got.Report.Gaps)
	}
	got := ask(100, 200)
	if g := got.Report.Gaps; got.Balanced || g.Missing != 3 || g.Present != 98 || len(g.Ranges) != 2 ||
		g.Ranges[0].From != 150 || g.Ranges[0].To != 151 || g.Ranges[1].From != 200 {
		t.Errorf("%+v", g)
	}
	post := example("twice")
	post["source"], post["sequence"] = "core", 101
	s.call(key, "POST", "/v1/events", post).want(202, "")
	if g := ask(100, 149).Report.Gaps; g.Complete || len(g.Twice) != 1 || g.Twice[0].Sequence != 101 {
		t.Errorf("%+v", g)
	}
}

// TestReconciliationsRefuseBadInput: with an error that names the row, the field and the fix, and nothing written.
func TestReconciliationsRefuseBadInput(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	key := s.key("default", domain.RoleAdmin)
	head := s.store.Head()
	billing := func(file string) map[string]any { return map[string]any{"against": "billing", "file": file} }
	const columns = "agent_id,period,period_start,unit,currency,spent\n"
	for _, c := range []struct {
		status    int
		code, say string
		ask       map[string]any
	}{
		{400, "no_period", "from and to", map[string]any{"period": ""}},
		{400, "invalid_period", "2026-03", map[string]any{"period": "March"}},
		{400, "invalid_period", "leave one", map[string]any{"from": "2026-03-01T00:00:00Z"}},
		{400, "empty_range", "swap", map[string]any{"period": "", "from": "2026-03-02T00:00:00Z",
			"to": "2026-03-01T00:00:00Z"}},
		{400, "invalid_tz", "IANA", map[string]any{"tz": "Local"}},
		{400, "invalid_tolerance", "0.01", map[string]any{"tolerance": "1,5"}},
		{400, "invalid_late_after", "744h", map[string]any{"late_after": "-5s"}},
		{400, "no_endpoint", "endpoint list", map[string]any{"against": "receiver", "file": "webhook_id\n"}},
		{404, "endpoint_not_found", "endpoint list", map[string]any{"endpoint_ids": []string{"ep_none"}}},
		{400, "no_source", "source list", map[string]any{"against": "agenfleet"}},
		{404, "source_not_found", "source list", map[string]any{"against": "agenfleet", "source_id": "src_none"}},
		{400, "invalid_against", "say whether", map[string]any{"file": "x"}},
		{400, "empty_file", "first line", billing("")},
		{400, "invalid_row", "row 1: the columns are not separated by commas", billing("agent_id;spent\n")},
		{400, "invalid_row", `row 2, period: there is no such column`, billing("agent_id,spent\na,1\n")},
		{400, "invalid_row", `row 2, \"total\": is none of the columns`,
			billing("event_id,unit,spent,total\na,tokens,1,2\n")},
		{400, "invalid_row", "row 3, spent: \\\"12,50\\\" is no amount",
			billing(columns + "a,daily,2026-03-17,tokens,,1\na,daily,2026-03-17,tokens,,\"12,50\"\n")},
		{400, "invalid_row", "row 2, currency", billing(columns + "a,daily,2026-03-17,money,,1\n")},
		{400, "invalid_row", "row 2, currency", billing(columns + "a,daily,2026-03-17,money,euro,1\n")},
		{400, "invalid_row", "row 2, period_start", billing(columns + "a,daily,17.3.2026,tokens,,1\n")},
		{400, "invalid_row", "another number of fields", billing(columns + "a,daily\n")},
		{400, "invalid_row", "row 1 is no JSON object",
			map[string]any{"against": "billing", "format": "ndjson", "file": "a,b\n"}},
		{400, "empty_range", "swap", map[string]any{"numbered": map[string]any{"source": "s", "from": 5, "to": 1}}},
		{400, "invalid_as_of", "", map[string]any{"as_of": "yesterday"}},
		{400, "invalid_id", "", map[string]any{"id": "x"}},
	} {
		if c.ask["period"] == nil {
			c.ask["period"] = "2026-03"
		}
		got := s.call(key, "POST", "/v1/reconciliations", c.ask).want(c.status, c.code)
		if !strings.Contains(string(got.body), c.say) {
			t.Errorf("%s does not say %q: %s", c.code, c.say, got.body)
		}
	}
	if s.store.Head() != head {
		t.Error("something was written")
	}
	s.full.Store(true)
	s.call(key, "POST", "/v1/reconciliations", map[string]any{"period": "2026-03"}).
		want(http.StatusInsufficientStorage, "no_room")
	s.call(key, "POST", "/v1/reconciliations", map[string]any{"period": "2026-03", "dry_run": true}).want(200, "")
}

// TestReconciliationsKeepTheirTenant: nothing of another tenant counts, is known, or can be cited.
func TestReconciliationsKeepTheirTenant(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.tenant("acme")
	mine, theirs := s.key("acme", domain.RoleAdmin), s.key("default", domain.RoleAdmin)
	s.call(theirs, "POST", "/v1/events", spend("b1", "atlas", time.Now().UTC().Format(time.RFC3339), "1")).want(202, "")
	other := s.reconcile(theirs, 201, map[string]any{})
	got := s.reconcile(mine, 201, map[string]any{"against": "billing", "file": "event_id,unit,spent\nb1,tokens,1\n"})
	if f := got.Report.Findings; len(f) != 1 || f[0].Kind != "extra" || !strings.Contains(f[0].Detail, "no such event") {
		t.Errorf("%+v", f)
	}
	s.call(mine, "POST", "/v1/reconciliations", map[string]any{"period": "2026-03", "as_of": other.AsOf}).
		want(400, "invalid_as_of")
}
