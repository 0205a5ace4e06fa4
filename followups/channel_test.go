package followups

import (
	"strings"
	"testing"

	"hookledger/domain"
	"hookledger/ledger"
)

const completed = `{"jobId":"job_1","runId":"run_1","status":"success","output":"done"}`

// TestSemantics_OnceForARunAndAChannel: what becomes of a cron job's output on its way to each of its channels.
func TestSemantics_OnceForARunAndAChannel(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_slack", kind("slack"), "cron.*")
	n.endpoint("ep_telegram", kind("telegram"), "cron.completed")
	n.endpoint("ep_email", kind("email"), "cron.completed")
	n.endpoint("ep_url", urlChannel, "cron.completed", "agent.*")
	n.endpoint("ep_plain", nil, "cron.completed")
	due := n.post("cron.completed", completed)
	n.attempt(due["ep_slack"], 503, 200)
	n.attempt(due["ep_telegram"], 500, 500, 0, 400)
	n.attempt(due["ep_url"], 204)
	n.attempt(due["ep_plain"], 200)
	n.attempt(n.post("agent.budget_alert", budget)["ep_url"], 200)
	n.expect(n.settle(), "channel_ended done 3", "channel_ended moot 1", "delivery.exhausted nobody 1")
	got := strings.Join(n.told(), "\n")
	at := func(endpoint string) string { return `"deliveryId":"` + due[endpoint].Delivery + `"}` }
	for _, want := range []string{
		`cron.delivered {"jobId":"job_1","runId":"run_1","channel":"slack","attempts":2,` +
			`"deliveredAt":"2026-03-01T12:01:00.002Z",` + at("ep_slack"),
		`cron.failed {"jobId":"job_1","runId":"run_1","channel":"telegram","attempts":4,"error":"400",` + at("ep_telegram"),
		`cron.delivered {"jobId":"job_1","runId":"run_1","channel":"url","attempts":1,"deliveredAt":"`, at("ep_url"),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nobody said %s in\n%s", want, got)
		}
	}
	if len(n.told()) != 3 {
		t.Errorf("told\n%s", got)
	}

	// Their own deliveries to a channel say nothing, and neither do a second endpoint of the channel, a forced retry and a
	// retry by hand after the end.
	for id := range n.posted(domain.TypeCronDelivered, domain.TypeCronFailed) {
		n.attempt(n.routed(id)["ep_slack"], 200)
	}
	n.endpoint("ep_slack2", kind("slack"), "cron.completed")
	stream := domain.DeliveryStream(ten, due["ep_telegram"].Delivery)
	n.append(stream, &domain.RetryRequested{})
	n.attempt(due["ep_telegram"], 200)
	n.append(domain.DeliveryStream(ten, due["ep_slack"].Delivery), &domain.RetryRequested{Force: true})
	n.attempt(due["ep_slack"], 200)
	n.expect(n.settle(), "channel_ended duplicate 5", "channel_ended moot 4", "delivery.exhausted nobody 1")
	if len(n.told()) != 3 {
		t.Errorf("told\n%s", strings.Join(n.told(), "\n"))
	}
	// What it says is erased with what it is about.
	n.must(n.vault.Destroy(t.Context(), n.keyOf(due["ep_slack"].Event)))
	for id := range n.posted(domain.TypeCronDelivered, domain.TypeCronFailed) {
		if n.keyOf(id) != n.keyOf(due["ep_slack"].Event) {
			t.Error("it is sealed under another key than the output")
		}
	}
	n.expect(n.settle(), "channel_ended erased 9", "delivery.exhausted nobody 1")
}

// posted are the ids of the events of the types.
func (n *node) posted(types ...string) map[string]bool {
	n.t.Helper()
	out := map[string]bool{}
	for r, err := range n.store.ReadAll(n.t.Context(), 0) {
		n.must(err)
		if f, ok := r.Fact.(*domain.EventReceived); ok {
			for _, typ := range types {
				if f.Event == typ {
					out[f.ID] = true
				}
			}
		}
	}
	return out
}

func (n *node) keyOf(event string) string {
	n.t.Helper()
	return n.stream(domain.EventStream(ten, event))[0].Fact.(*domain.EventReceived).Content.KeyID
}

// TestSemantics_TheChannelIsThatOfTheAttempt: what the endpoint was when the output was sent, whatever it is by now.
func TestSemantics_TheChannelIsThatOfTheAttempt(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", urlChannel, "cron.completed")
	n.attempt(n.post("cron.completed", completed)["ep_1"], 200)
	n.append(domain.EndpointStream(ten, "ep_1"), &domain.EndpointReconfigured{Config: domain.EndpointConfig{
		Kind: "webhook", EventTypes: []string{"cron.completed"}}})
	n.expect(n.settle(), "channel_ended done 1")
	n.append(domain.EndpointStream(ten, "ep_1"), &domain.EndpointRemoved{})
	n.expect(n.settle(), "channel_ended duplicate 1")
}

// TestSemantics_ALateSuccessIsADelivery: the attempt had been given up, and the receiver had it all the same.
func TestSemantics_ALateSuccessIsADelivery(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", kind("email"), "cron.completed")
	due := n.post("cron.completed", completed)["ep_1"]
	n.attempt(due, 0)
	stream := domain.DeliveryStream(ten, due.Delivery)
	d, at, err := ledger.Load(t.Context(), n.store, stream, domain.NewDelivery)
	n.must(err)
	_, err = n.store.Append(t.Context(), stream, at, d.Finish(domain.Outcome{Stamp: n.stamp(), Attempt: "att_1",
		Response: &domain.ResponseReceived{Status: 200}}))
	n.must(err)
	n.expect(n.settle(), "channel_ended done 1")
}
