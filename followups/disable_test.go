package followups

import (
	"testing"
	"time"

	"hookledger/domain"
)

const budget = `{"agentId":"a","budget":10,"spent":9,"threshold":0.9,"period":"daily","unit":"tokens"}`

func (n *node) disabled(id string) []*domain.Record {
	n.t.Helper()
	var out []*domain.Record
	for _, r := range n.stream(domain.EndpointStream(ten, id)) {
		if _, ok := r.Fact.(*domain.EndpointDisabled); ok {
			out = append(out, r)
		}
	}
	return out
}

// TestSemantics_A410DisablesItsEndpoint: once, with the answer as its evidence. What it was about waits for its next
// retry, held, and ends in no terminal.
func TestSemantics_A410DisablesItsEndpoint(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", nil, "*")
	due := n.post("agent.budget_alert", budget)["ep_1"]
	n.attempt(due, 410)
	n.expect(n.settle(), "disable_gone done 1", "endpoint.disabled nobody 1")
	records := n.disabled("ep_1")
	if len(records) != 1 || !n.find("ep_1").Disabled {
		t.Fatalf("%d records", len(records))
	}
	answer := n.stream(domain.DeliveryStream(ten, due.Delivery))[3]
	if _, ok := answer.Fact.(*domain.ResponseReceived); !ok {
		t.Fatalf("%T", answer.Fact)
	}
	f := records[0].Fact.(*domain.EndpointDisabled)
	if f.Reason != domain.DisabledGone || f.Evidence != answer.ID || records[0].Causation != answer.ID ||
		records[0].Actor != domain.FollowUpActor || f.Failures != 1 || f.First != answer.ID {
		t.Fatalf("%+v", records[0])
	}
	last := n.stream(domain.DeliveryStream(ten, due.Delivery))
	if _, ok := last[len(last)-1].Fact.(*domain.RetryScheduled); !ok {
		t.Fatalf("the delivery ended with %T", last[len(last)-1].Fact)
	}
	n.expect(n.settle(), "disable_gone duplicate 1", "endpoint.disabled nobody 1")
}

// TestSemantics_WhatWasDecidedSinceWins: an old 410, found again when all is folded anew, does not disable an endpoint
// that was enabled since; a new one does.
func TestSemantics_WhatWasDecidedSinceWins(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", nil, "*")
	stream := domain.EndpointStream(ten, "ep_1")
	first := n.post("agent.budget_alert", budget)["ep_1"]
	n.attempt(first, 410)
	n.append(stream, &domain.EndpointDisabled{Reason: domain.DisabledManual}) // before we came to it
	n.append(stream, &domain.EndpointEnabled{})
	n.expect(n.settle(), "disable_gone moot 1", "endpoint.disabled nobody 1")
	if n.find("ep_1").Disabled {
		t.Fatal("it was disabled for what somebody had seen before enabling it")
	}
	n.attempt(first, 410)
	n.expect(n.settle(), "disable_gone done 1", "disable_gone moot 1", "endpoint.disabled nobody 2")
	if !n.find("ep_1").Disabled {
		t.Fatal("it answered 410 again")
	}
	n.append(stream, &domain.EndpointRemoved{})
	n.expect(n.settle(), "disable_gone duplicate 1", "disable_gone moot 1", "endpoint.disabled nobody 2")
}

// TestSemantics_FiveDaysOfFailuresDisable: not a minute before, and the record cites the whole row.
func TestSemantics_FiveDaysOfFailuresDisable(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", func(c *domain.EndpointConfig) {
		for range 50 {
			c.RetrySchedule = append(c.RetrySchedule, domain.Duration(3*time.Hour))
		}
	}, "*")
	due := n.post("agent.budget_alert", budget)["ep_1"]
	began := n.now()
	for n.now().Sub(began) < 5*24*time.Hour {
		if len(n.disabled("ep_1")) > 0 {
			t.Fatalf("disabled after %s", n.now().Sub(began))
		}
		n.attempt(due, 503)
		n.settle()
	}
	records := n.disabled("ep_1")
	if len(records) != 1 {
		t.Fatalf("%d times disabled after %s", len(records), n.now().Sub(began))
	}
	f := records[0].Fact.(*domain.EndpointDisabled)
	evidence := map[string]bool{}
	for _, r := range n.stream(domain.DeliveryStream(ten, due.Delivery)) {
		evidence[r.ID.String()] = true
	}
	if f.Reason != domain.DisabledFailing || !evidence[f.Evidence.String()] || !evidence[f.First.String()] ||
		f.First == f.Evidence || f.Failures < 41 || records[0].RecordedAt.Sub(f.Since) < 5*24*time.Hour {
		t.Fatalf("%+v", f)
	}
}
