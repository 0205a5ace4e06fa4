package main

import (
	"context"
	"fmt"
	"time"

	"hookledger/cmd/hookledger/apiclient"
)

// The budget events of the story, and what billing made of them: spent is a running total, so that atlas has spent
// 260000 and not 500000. Billing has lost b3, and turned two digits of b2.
const (
	billingEvents = `{"id":"b1","event":"agent.budget_alert",` +
		`"data":{"agentId":"atlas","budget":300000,"spent":240000,"threshold":0.8,` +
		`"period":"daily","unit":"tokens","periodStart":"2026-03-17T00:00:00Z"}}` + "\n" +
		`{"id":"b2","event":"agent.budget_alert",` +
		`"data":{"agentId":"atlas","budget":300000,"spent":260000,"threshold":0.8,` +
		`"period":"daily","unit":"tokens","periodStart":"2026-03-17T00:00:00Z"}}` + "\n" +
		`{"id":"b3","event":"agent.budget_exhausted",` +
		`"data":{"agentId":"nova","budget":250000,"spent":250000,` +
		`"period":"daily","unit":"tokens","periodStart":"2026-03-17T00:00:00Z"}}` + "\n" +
		`{"id":"b4","event":"agent.budget_alert",` +
		`"data":{"agentId":"nova","budget":15.00,"spent":12.34,"threshold":0.8,` +
		`"period":"monthly","unit":"money","currency":"USD","periodStart":"2026-03-01T00:00:00Z"}}` + "\n"
	billingWrong = `event_id,agent_id,unit,currency,spent
b1,atlas,tokens,,240000
b2,atlas,tokens,,206000
b4,nova,money,USD,12.34
`
	billingRight = `event_id,agent_id,unit,currency,spent
b1,atlas,tokens,,240000
b2,atlas,tokens,,260000
b3,nova,tokens,,250000
b4,nova,money,USD,12.34
`
)

// billing finds what billing's file lacks and has otherwise, and balances once it is put right.
func (s *story) billing(ctx context.Context) error {
	s.headed("Billing is told of budgets; what it is told are running totals")
	if _, err := s.register(ctx, "billing", 0, "--events", "agent.budget_alert,agent.budget_exhausted"); err != nil {
		return err
	}
	events, err := s.file("events.ndjson", billingEvents, true)
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, exitOK, "event", "send", events); err != nil {
		return err
	}
	if err := s.settled(ctx, 4); err != nil {
		return err
	}
	// Whole hours around now: the story may begin a moment before midnight.
	hour := now().UTC().Truncate(time.Hour)
	reconcile := func(id string, more ...string) []string {
		return append([]string{"reconcile", "--from", hour.Add(-time.Hour).Format(time.RFC3339),
			"--to", hour.Add(2 * time.Hour).Format(time.RFC3339), "--id", id}, more...)
	}

	s.headed("What has each agent spent? A total counts once, and tokens and money are never added")
	if _, err := s.run(ctx, exitOK, reconcile("rcn_totals", "--show", "accounts")...); err != nil {
		return err
	}
	var totals apiclient.Reconciliation
	if err := s.ask(ctx, exitOK, &totals, reconcile("rcn_totals")...); err != nil {
		return err
	}
	if err := runningTotals(&totals); err != nil {
		return err
	}
	s.checked("atlas 260000 tokens, not 500000; nova 250000 tokens and 12.34 USD; 4 of 4 events delivered")

	s.headed("Does billing's export agree?")
	wrong, err := s.file("billing.csv", billingWrong, true)
	if err != nil {
		return err
	}
	_, err = s.run(ctx, exitUnverified, reconcile("rcn_first", "--billing", wrong, "--show", "findings")...)
	if err != nil {
		return err
	}
	var first apiclient.Reconciliation
	if err := s.ask(ctx, exitUnverified, &first, reconcile("rcn_first", "--billing", wrong)...); err != nil {
		return err
	}
	if err := exactlyPlanted(&first); err != nil {
		return err
	}
	s.checked("exactly what was planted: b3 is missing, and b2 has 206000 in place of 260000")

	s.headed("Billing puts it right, and it balances")
	right, err := s.file("billing-corrected.csv", billingRight, true)
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, exitOK, reconcile("rcn_second", "--billing", right, "--show", "findings")...); err != nil {
		return err
	}
	s.headed("Each run stays on the ledger")
	if _, err := s.run(ctx, exitOK, "reconcile", "list"); err != nil {
		return err
	}
	var runs []apiclient.Reconciliation
	if err := s.ask(ctx, exitOK, &runs, "reconcile", "list"); err != nil {
		return err
	}
	if len(runs) != 3 || !runs[0].Balanced || runs[1].Balanced || !runs[2].Balanced {
		return fmt.Errorf("%d runs are kept, and not as they went", len(runs))
	}
	s.checked("three runs: balanced, not balanced, balanced")
	return nil
}

// runningTotals checks the totals that the events come to.
func runningTotals(r *apiclient.Reconciliation) error {
	want := map[string]string{"atlas tokens": "260000", "nova tokens": "250000", "nova money": "12.34"}
	if r.Report == nil || len(r.Report.Accounts) != len(want) || r.Totals.Events != 4 || r.Totals.Delivered != 4 {
		return fmt.Errorf("the totals are those of %d events, %d deliveries", r.Totals.Events, r.Totals.Delivered)
	}
	for _, a := range r.Report.Accounts {
		if key := a.Value.Agent + " " + a.Value.Unit; a.Value.Spent.String() != want[key] {
			return fmt.Errorf("%s: spent %s, and not %s", key, a.Value.Spent, want[key])
		}
	}
	return nil
}

// exactlyPlanted checks that the findings are those two, each with its proof.
func exactlyPlanted(r *apiclient.Reconciliation) error {
	if r.Report == nil || len(r.Report.Findings) != 2 {
		return fmt.Errorf("there are other findings than the two that were planted: %v", r.Totals.Findings)
	}
	for _, f := range r.Report.Findings {
		v := f.Value
		switch {
		case len(v.Proof) == 0:
			return fmt.Errorf("the finding on %s has no proof", v.EventID)
		case v.Kind == "missing" && v.EventID == "b3":
		case v.Kind == "differs" && v.EventID == "b2" && len(v.Differences) == 1 && v.Differences[0].Field == "spent" &&
			v.Differences[0].Ledger == "260000" && v.Differences[0].Theirs == "206000":
		default:
			return fmt.Errorf("%s %s was not planted", v.Kind, v.EventID)
		}
	}
	return nil
}
