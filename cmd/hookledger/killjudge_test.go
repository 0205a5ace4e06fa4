package main

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// record is what the judge reads of a record.
type record struct {
	ID     string
	Type   string
	Stream string
	Data   struct {
		ID        string `json:"id"`
		Event     string `json:"event"`
		Attempt   string `json:"attempt"`
		WebhookID string `json:"webhook_id"`
		Timestamp int64  `json:"webhook_timestamp"`
		Signature string `json:"signatures"`
		Matches   []struct {
			Endpoint string `json:"endpoint"`
			Delivery string `json:"delivery"`
		} `json:"matches"`
		Config struct {
			EventTypes []string `json:"event_types"`
		} `json:"config"`
	}
}

// entity is the id of what the record's stream is about.
func (r *record) entity() string { return r.Stream[strings.LastIndex(r.Stream, ".")+1:] }

// judge holds the ledger against what was seen outside.
func (o *oracle) judge(t *testing.T, records iter.Seq[record]) {
	t.Helper()
	ids, deliveries := map[string]bool{}, map[string]string{}
	routing := routes{t: t, endpoints: map[string]*subscription{}, received: map[string]string{}}
	signed, outcome := map[wireAttempt]int{}, map[string]int{} // attempts within one second look alike
	for r := range records {
		if ids[r.ID] {
			t.Errorf("record %s stands twice on the ledger", r.ID)
		}
		ids[r.ID] = true
		routing.record(&r)
		delivery := r.entity()
		switch r.Type {
		case "EventRouted":
			for _, m := range r.Data.Matches {
				if deliveries[m.Delivery] != "" {
					t.Errorf("delivery %s is routed twice", m.Delivery)
				}
				deliveries[m.Delivery] = "routed"
			}
		case "AttemptStarted":
			outcome[r.Data.Attempt] = 0
		case "RequestSigned":
			signed[wireAttempt{r.Data.WebhookID, strconv.FormatInt(r.Data.Timestamp, 10), r.Data.Signature}]++
		case "ResponseReceived", "AttemptFailed", "AttemptInterrupted":
			outcome[r.Data.Attempt]++
		case "DeliverySucceeded", "DeliveryExhausted", "DeliveryCancelled":
			if deliveries[delivery] == "ended" {
				t.Errorf("delivery %s ended twice", delivery)
			}
			deliveries[delivery] = "ended"
		}
	}
	for id := range o.acked {
		switch eventType, ok := routing.received[id]; {
		case !ok:
			t.Errorf("event %s was acked and is not on the ledger", id)
		case eventType != "":
			t.Errorf("event %s was acked, and who gets it was never decided", id)
		}
	}
	for _, id := range o.endpoints {
		if routing.endpoints[id] == nil {
			t.Errorf("endpoint %s was answered and is not on the ledger", id)
		}
	}
	intents := 0
	for _, n := range signed {
		intents += n
	}
	for _, w := range o.received {
		if signed[w]--; signed[w] < 0 {
			t.Errorf("the receiver got %+v more often than RequestSigned says so", w)
		}
	}
	for id, state := range deliveries {
		if state != "ended" {
			t.Errorf("delivery %s has no terminal", id)
		}
	}
	for id, n := range outcome {
		if n == 0 {
			t.Errorf("attempt %s was started and has no outcome", id)
		}
	}
	if len(o.acked) == 0 || len(o.received) == 0 || len(deliveries) == 0 {
		t.Fatalf("%d acks, %d deliveries and %d requests: the load was no load", len(o.acked), len(deliveries),
			len(o.received))
	}
	t.Logf("%d events acked, %d on the ledger; %d deliveries; %d requests received, %d signed; %d records",
		len(o.acked), len(routing.received), len(deliveries), len(o.received), intents, len(ids))
}

// routes holds each routing decision against the endpoints as they are at its position: a fold of the judge's own,
// which knows nothing of the product's. No test that is judged changes an endpoint while it posts.
type routes struct {
	t         *testing.T
	endpoints map[string]*subscription
	received  map[string]string // events: the type, until it is decided who gets it
	wrong     int
}

type subscription struct {
	patterns []string
	off      bool // disabled or removed
}

func (s *routes) record(r *record) {
	s.t.Helper()
	id := r.entity()
	switch r.Type {
	case "EndpointRegistered":
		s.endpoints[id] = &subscription{patterns: r.Data.Config.EventTypes}
	case "EndpointReconfigured":
		s.endpoints[id].patterns = r.Data.Config.EventTypes
	case "EndpointDisabled", "EndpointRemoved":
		s.endpoints[id].off = true
	case "EndpointEnabled":
		s.endpoints[id].off = false
	case "EventReceived":
		if _, ok := s.received[r.Data.ID]; ok {
			s.t.Errorf("event %s is twice on the ledger", r.Data.ID)
		}
		s.received[r.Data.ID] = r.Data.Event
	case "EventRouted":
		var got []string
		for _, m := range r.Data.Matches {
			got = append(got, m.Endpoint)
		}
		slices.Sort(got)
		if want := s.takers(s.received[id]); !slices.Equal(got, want) {
			if s.wrong++; s.wrong <= 10 { // where one is wrong, thousands are
				s.t.Errorf("%s of %s goes to %v, and %v subscribe to it", s.received[id], id, got, want)
			}
		}
		s.received[id] = ""
	}
}

// takers are the endpoints that are to get an event of the type, in the order of their ids.
func (s *routes) takers(eventType string) []string {
	var out []string
	for id, e := range s.endpoints {
		if !e.off && slices.ContainsFunc(e.patterns, func(p string) bool {
			prefix, below := strings.CutSuffix(p, "*")
			return p == eventType || below && strings.HasPrefix(eventType, prefix)
		}) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
