package followups

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

func (n *node) fail(times int, due domain.Due) {
	n.t.Helper()
	for range times {
		n.attempt(due, 500)
	}
}

// failing makes an endpoint fail with events of its own until it is failing.
func (n *node) failing(id string) {
	n.t.Helper()
	for range 5 {
		n.attempt(n.post("agent.budget_alert", budget)[id], 503)
	}
}

// TestSemantics_OperationalEventsAreWhatASubscriberAskedFor: to who subscribes by name or prefix, with what the ledger
// says; "*" does not take them.
func TestSemantics_OperationalEventsAreWhatASubscriberAskedFor(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", nil, "agent.*")
	n.endpoint("ep_all", nil, "*")
	n.endpoint("ep_watch", nil, "endpoint.*", "delivery.exhausted")
	n.failing("ep_1")
	n.attempt(n.post("agent.budget_alert", budget)["ep_1"], 200)
	exhausted := n.post("agent.budget_alert", budget)["ep_1"]
	n.attempt(exhausted, 500, 0, 500, 0)
	n.append(domain.EndpointStream(ten, "ep_1"), &domain.EndpointDisabled{Reason: domain.DisabledManual})
	n.expect(n.settle(), "endpoint.failing done 1", "endpoint.recovered done 1", "delivery.exhausted done 1",
		"endpoint.disabled done 1")
	told := n.told()
	if len(told) != 4 {
		t.Fatalf("%q", told)
	}
	const since = `"since":"2026-03-01T12:00:00.001Z","error":"503"}`
	for i, want := range []string{
		`endpoint.failing {"endpointId":"ep_1","recordId":"R","failures":5,` + since,
		`endpoint.recovered {"endpointId":"ep_1","recordId":"R","failures":5,` + since,
		`delivery.exhausted {"deliveryId":"` + exhausted.Delivery + `","endpointId":"ep_1","eventId":"` + exhausted.Event +
			`","event":"agent.budget_alert","attempts":4,"reason":"schedule","error":"timeout","recordId":"R"}`,
		`endpoint.disabled {"endpointId":"ep_1","recordId":"R","reason":"manual","failures":4,"since":`,
	} {
		got := told[i]
		at := strings.Index(got, `"recordId":"`) + len(`"recordId":"`)
		if got = got[:at] + "R" + got[at+26:]; !strings.HasPrefix(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for _, r := range n.found() {
		routed := n.routed("evt_" + r.ID().String())
		if _, ok := routed["ep_watch"]; !ok || len(routed) != 1 {
			t.Errorf("%s went to %v", r.Kind, routed)
		}
	}
}

// TestSemantics_WhoAsksLaterIsNotToldWhatWas: an event is made where somebody had subscribed when it happened. Who is
// disabled had: what it misses stands on the ledger as left out.
func TestSemantics_WhoAsksLaterIsNotToldWhatWas(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", nil, "agent.*")
	n.endpoint("ep_later", nil, "cron.failed")
	n.failing("ep_1")
	n.endpoint("ep_new", nil, "endpoint.failing")
	n.append(domain.EndpointStream(ten, "ep_later"), &domain.EndpointReconfigured{Config: domain.EndpointConfig{
		EventTypes: []string{"endpoint.*"}}})
	n.expect(n.settle(), "endpoint.failing nobody 1")

	n.attempt(n.post("agent.budget_alert", budget)["ep_1"], 200)
	n.append(domain.EndpointStream(ten, "ep_later"), &domain.EndpointDisabled{Reason: domain.DisabledManual})
	// A change of something else does not make it one who asked later.
	n.append(domain.EndpointStream(ten, "ep_later"), &domain.EndpointReconfigured{Config: domain.EndpointConfig{
		EventTypes: []string{"endpoint.*"}, Description: "the same"}})
	n.expect(n.settle(), "endpoint.failing nobody 1", "endpoint.recovered done 1", "endpoint.disabled done 1")
	for _, r := range n.stream(domain.EventStream(ten, told(n, domain.FollowRecovered))) {
		if f, ok := r.Fact.(*domain.EventRouted); ok && (len(f.Matches) != 0 || len(f.LeftOut) != 1) {
			t.Errorf("%+v", f)
		}
	}
}

// told is the id of the event of the kind.
func told(n *node, kind string) string {
	for _, f := range n.found() {
		if f.Kind == kind {
			return domain.NewID(domain.PrefixEvent, f.ID())
		}
	}
	return ""
}

// TestSemantics_NothingIsSaidOfWhatWeSaid: an endpoint that subscribes to what is said of it, and takes none of it.
// However often it fails with that, nothing more is said.
func TestSemantics_NothingIsSaidOfWhatWeSaid(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", nil, "agent.*", "endpoint.*", "delivery.*")
	n.failing("ep_1")
	n.settle()
	n.attempt(n.routed(told(n, domain.FollowFailing))["ep_1"], 500, 500, 500, 500) // exhausted
	n.expect(n.settle(), "endpoint.failing duplicate 1", "delivery.exhausted own 1")

	// It recovers by one of ours, and fails again by another: that is health, and no news.
	n.attempt(n.post("agent.budget_alert", budget)["ep_1"], 200)
	n.settle()
	recovered := n.routed(told(n, domain.FollowRecovered))["ep_1"]
	n.pass(time.Hour)
	n.fail(3, recovered)
	due := n.post("agent.budget_alert", budget)["ep_1"]
	n.fail(1, due)
	n.fail(1, recovered) // the fifth in a row, and the end of its schedule
	n.expect(n.settle(), "endpoint.failing duplicate 1", "endpoint.failing own 1", "endpoint.recovered duplicate 1",
		"delivery.exhausted own 2")
	if told := n.told(); len(told) != 2 {
		t.Fatalf("%q", told)
	}
}

// TestSemantics_ARefusalOfOursIsSaidAndCounted: a schema of the tenant's that does not take what we say.
func TestSemantics_ARefusalOfOursIsSaidAndCounted(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.endpoint("ep_1", urlChannel, "cron.completed")
	n.append(domain.TenantStream(ten), &domain.EventTypeRegistered{Type: "cron.delivered", Version: 2,
		Schema: json.RawMessage(`{"type":"object","required":["moon"]}`)})
	n.attempt(n.post("cron.completed", `{"jobId":"j","runId":"r"}`)["ep_1"], 200)
	q := newQueue(n.found()...)
	r, registry := n.runner(q)
	n.run(r, q)
	if len(q.done) != 1 || len(n.told()) != 0 {
		t.Fatalf("%d done, told %q", len(q.done), n.told())
	}
	if got := counted(t, registry, domain.FollowChannelEnded, resultRefused); got != 1 {
		t.Errorf("counted %v times", got)
	}
	log := n.log.String()
	for _, want := range []string{"schema_mismatch", "endpoint=ep_1", "kind=channel_ended", q.done[0].Evidence.String()} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %s:\n%s", want, log)
		}
	}
}
