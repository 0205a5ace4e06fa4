package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"hookledger/domain"
	"hookledger/projections"
	"hookledger/vault"
)

// FilterInput is what the lists of events, deliveries and attempts all take. A condition on an attempt selects the
// deliveries that have one such attempt; a condition on a delivery selects the events that have one such delivery.
type FilterInput struct {
	OccurredAfter   time.Time `query:"occurred_after" doc:"The event's own timestamp is after this time."`
	OccurredBefore  time.Time `query:"occurred_before" doc:"The event's own timestamp is before this time."`
	ReceivedAfter   time.Time `query:"received_after" doc:"The event was accepted after this time."`
	ReceivedBefore  time.Time `query:"received_before" doc:"The event was accepted before this time."`
	AttemptedAfter  time.Time `query:"attempted_after" doc:"It was attempted after this time."`
	AttemptedBefore time.Time `query:"attempted_before" doc:"It was attempted before this time."`
	EndpointID      string    `query:"endpoint_id" maxLength:"128"`
	EventID         string    `query:"event_id" maxLength:"128"`
	DeliveryID      string    `query:"delivery_id" maxLength:"128"`
	Event           string    `query:"event" maxLength:"128" doc:"A type, or a pattern such as agent.*" example:"agent.*"`
	Subject         string    `query:"subject" maxLength:"256" doc:"Opens what the rest selects: 2,000 events a page."`
	ReplayID        string    `query:"replay_id" maxLength:"128" doc:"Only what this replay scheduled."`
	Code            int       `query:"code" minimum:"0" maximum:"999" doc:"HTTP status; of a delivery, its last."`
	CodeClass       string    `query:"code_class" enum:"1xx,2xx,3xx,4xx,5xx" doc:"Likewise, its first digit."`
	AnyCode         int       `query:"any_code" minimum:"0" maximum:"999" doc:"HTTP status of any attempt, not of the last alone."`
	AnyCodeClass    string    `query:"any_code_class" enum:"1xx,2xx,3xx,4xx,5xx" doc:"Likewise, its first digit."`
	ErrorCode       string    `query:"error_code" maxLength:"64" doc:"Why the (last) attempt failed; likewise." example:"timeout"`
	Trigger         string    `query:"trigger" enum:"initial,automatic,manual,replay" doc:"What made the attempt due."`
	AttemptsAtLeast int       `query:"attempts_at_least" minimum:"0" maximum:"1000000" doc:"Of the delivery."`
	LatencyAtLeast  string    `query:"latency_at_least" maxLength:"32" doc:"Of the attempt." example:"1.5s"`
	RemoteAddr      string    `query:"remote_addr" maxLength:"64" doc:"With or without a port." example:"203.0.113.7"`
	Text            string    `query:"text" maxLength:"256" doc:"Words of the event's data; the tenant's text_search must be on." example:"disk full"`
	Total           bool      `query:"total" doc:"Also count what is selected, from the cursor on, up to 100,000."`
}

// Total is how many rows a filter selects.
type Total struct {
	Count   int  `json:"count" doc:"Of all pages from the cursor on."`
	AtLeast bool `json:"at_least,omitempty" doc:"There are more: counting was given up."`
}

// where gives the conditions; those on a code are of attempts where the list is one of attempts, else of deliveries.
func (in *FilterInput) where(ofAttempts bool) (projections.Where, error) {
	w := projections.Where{Occurred: projections.Span{After: in.OccurredAfter, Before: in.OccurredBefore},
		Received:  projections.Span{After: in.ReceivedAfter, Before: in.ReceivedBefore},
		Attempted: projections.Span{After: in.AttemptedAfter, Before: in.AttemptedBefore},
		Trigger:   domain.Trigger(in.Trigger), AttemptsAtLeast: in.AttemptsAtLeast, RemoteAddr: in.RemoteAddr,
		DeliveryID: in.DeliveryID, AttemptCode: in.AnyCode, AttemptClass: classOf(in.AnyCodeClass)}
	if err := in.malformed(); err != nil {
		return w, err
	}
	for name, s := range map[string]projections.Span{"occurred": w.Occurred, "received": w.Received,
		"attempted": w.Attempted} {
		if !s.After.IsZero() && !s.Before.IsZero() && !s.After.Before(s.Before) {
			return w, newProblem(http.StatusBadRequest, "invalid_range",
				name+"_after is not before "+name+"_before: nothing could be selected; swap them")
		}
	}
	if in.LatencyAtLeast != "" {
		d, err := time.ParseDuration(in.LatencyAtLeast)
		if err != nil || d < 0 {
			return w, newProblem(http.StatusBadRequest, "invalid_duration",
				"latency_at_least is no duration: write it like 1.5s or 250ms")
		}
		w.LatencyAtLeast = d
	}
	switch class := classOf(in.CodeClass); {
	case ofAttempts && class != 0 && w.AttemptClass != 0 && class != w.AttemptClass:
		return w, newProblem(http.StatusBadRequest, "invalid_code",
			"of an attempt, code_class and any_code_class are the same, and two are given: leave one out")
	case ofAttempts:
		w.AttemptClass = cmp.Or(class, w.AttemptClass)
	default:
		w.LastClass, w.LastError = class, domain.ErrorCode(in.ErrorCode)
	}
	if in.Subject != "" && in.Total {
		return w, newProblem(http.StatusBadRequest, "no_total",
			"what is selected by its subject can't be counted beforehand: leave out total, and follow the cursors")
	}
	return w, nil
}

func classOf(s string) int {
	if s == "" {
		return 0
	}
	return int(s[0] - '0')
}

// malformed refuses what can be no id, type or address: it would find nothing, and say nothing.
func (in *FilterInput) malformed() error {
	for _, id := range []struct{ name, value, prefix string }{{"endpoint_id", in.EndpointID, "ep_"},
		{"delivery_id", in.DeliveryID, domain.PrefixDelivery}, {"replay_id", in.ReplayID, domain.PrefixReplay},
		{"event_id", in.EventID, ""}} {
		if id.value != "" && (!strings.HasPrefix(id.value, id.prefix) || !domain.ValidEventID(id.value)) {
			return newProblem(http.StatusBadRequest, "invalid_id", id.name+" is no such id: write it whole, "+
				map[bool]string{true: "as " + id.prefix + "…", false: "in A-Z a-z 0-9 _ and -"}[id.prefix != ""])
		}
	}
	if in.Event != "" && !domain.ValidPattern(in.Event) {
		return newProblem(http.StatusBadRequest, "invalid_event_type",
			"event is no type or pattern: write it like agent.status_changed, agent.* or *")
	}
	if _, err := netip.ParseAddr(in.RemoteAddr); in.RemoteAddr != "" && err != nil {
		if _, err := netip.ParseAddrPort(in.RemoteAddr); err != nil {
			return newProblem(http.StatusBadRequest, "invalid_address",
				"remote_addr is no IP address: write it like 203.0.113.7, 203.0.113.7:443 or [2001:db8::1]:443")
		}
	}
	return nil
}

// list is the page's part of a filter.
func (in *FilterInput) list(page *PageInput, c *caller) projections.List {
	l := page.list(c.tenant)
	l.Count = in.Total
	return l
}

// maxOpened is how many events are opened for a page of what has a subject.
const maxOpened = 2000

// bySubject pages through a list and keeps what is about events of the subject. Each part asks for no more rows than
// there is room for, so that the cursor of the last one is the page's.
func bySubject[R any](ctx context.Context, a *api, l *projections.List, subject string,
	list func() (projections.Page[R], error), eventOf func(*R) string) (projections.Page[R], error) {
	if subject == "" {
		return list()
	}
	limit := l.Limit
	out := projections.Page[R]{Rows: []R{}}
	opened := map[string]bool{}
	for {
		l.Limit = limit - len(out.Rows)
		page, err := list()
		if err != nil {
			return page, err
		}
		rows := out.Rows
		for i := range page.Rows {
			id := eventOf(&page.Rows[i])
			is, known := opened[id]
			if !known {
				if is, err = a.isAbout(ctx, l.Tenant, id, subject); err != nil {
					return page, err
				}
				opened[id] = is
			}
			if is {
				rows = append(rows, page.Rows[i])
			}
		}
		if out, out.Rows = page, rows; !page.HasMore || len(rows) == limit || len(opened) >= maxOpened {
			return out, nil
		}
		l.Cursor = page.NextCursor
	}
}

// isAbout opens an event and compares its subject. What was erased is about nobody any more.
func (a *api) isAbout(ctx context.Context, tenant, event, subject string) (bool, error) {
	e, err := a.readEvent(ctx, tenant, event)
	if err != nil {
		return false, err
	}
	var content domain.EventContent
	err = a.open(ctx, vault.PlaceOf(e.record), e.received.Content, &content)
	if errors.Is(err, vault.ErrErased) {
		return false, nil
	}
	return content.Subject == subject, err
}
