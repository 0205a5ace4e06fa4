package projections

import (
	"time"

	"github.com/huandu/go-sqlbuilder"

	"hookledger/domain"
)

// Span is a range of time; either end may be open.
type Span struct {
	After  time.Time // exclusive; zero: from the beginning
	Before time.Time // exclusive; zero: to the end
}

// and is what both hold.
func (s Span) and(t Span) Span {
	if s.After.Before(t.After) {
		s.After = t.After
	}
	if s.Before.IsZero() || !t.Before.IsZero() && t.Before.Before(s.Before) {
		s.Before = t.Before
	}
	return s
}

// Where is a mix of conditions that each of the lists of events, deliveries and attempts takes beside its own: on the
// event, on its delivery and on the attempt at it. A list of attempts holds an attempt where it, its delivery and its
// event are as said; a list of deliveries those with an attempt that is; a list of events those with such a delivery.
// Empty fields select all.
type Where struct {
	Occurred  Span // the event's own timestamp
	Received  Span // when the event was accepted
	Attempted Span // when an attempt started

	DeliveryStatus  domain.DeliveryStatus // not held, which no row says
	LastCode        int                   // of a delivery
	LastClass       int                   // of a delivery: 4 for 400 to 499
	LastError       domain.ErrorCode      // of a delivery
	AttemptsAtLeast int                   // of a delivery

	AttemptCode    int // of an attempt, as all that follow
	AttemptClass   int
	AttemptError   domain.ErrorCode
	Trigger        domain.Trigger
	LatencyAtLeast time.Duration
	RemoteAddr     string // with or without its port
	DeliveryID     string
	EndpointID     string // of a delivery
	EventType      string // a type or a pattern
	Replay         string // that scheduled the delivery

	// Events are those that a search for a text has found; nil: it was not asked for.
	Events []string
}

// slow is the duration from which an index holds attempts.
const slow = time.Second

// onEvent, onDelivery and onAttempt are the conditions on columns of each, which stand behind the prefix.
func (w *Where) onEvent(sb *sqlbuilder.SelectBuilder, prefix string) []string {
	out := within(sb, prefix+"timestamp", w.Occurred)
	return append(out, within(sb, prefix+"created_at", w.Received)...)
}

func (w *Where) onDelivery(sb *sqlbuilder.SelectBuilder, prefix string) []string {
	var out []string
	if w.DeliveryStatus != "" {
		out = append(out, sb.Equal(prefix+"status", string(w.DeliveryStatus)))
	}
	out = append(out, codes(sb, prefix+"last_code", w.LastCode, w.LastClass)...)
	if w.LastError != "" {
		out = append(out, sb.Equal(prefix+"last_error", string(w.LastError)))
	}
	if w.AttemptsAtLeast > 0 {
		out = append(out, sb.GreaterEqualThan(prefix+"attempts", w.AttemptsAtLeast))
	}
	if w.Replay != "" {
		out = append(out, sb.Equal(prefix+"replay", w.Replay))
	}
	if w.DeliveryID != "" {
		out = append(out, sb.Equal(prefix+"id", w.DeliveryID))
	}
	if w.EndpointID != "" {
		out = append(out, sb.Equal(prefix+"endpoint_id", w.EndpointID))
	}
	return append(out, matching(sb, prefix+"event", w.EventType)...)
}

func (w *Where) onAttempt(sb *sqlbuilder.SelectBuilder, prefix string) []string {
	out := within(sb, prefix+"started_at", w.Attempted)
	out = append(out, codes(sb, prefix+"code", w.AttemptCode, w.AttemptClass)...)
	if w.AttemptError != "" {
		out = append(out, sb.Equal(prefix+"error_code", string(w.AttemptError)))
	}
	if w.Trigger != "" {
		out = append(out, sb.Equal(prefix+"trigger", string(w.Trigger)))
	}
	if w.LatencyAtLeast > 0 {
		out = append(out, sb.GreaterEqualThan(prefix+"duration_us", w.LatencyAtLeast.Microseconds()))
	}
	if w.RemoteAddr != "" {
		// "203.0.113.7" is also the address of "203.0.113.7:443": what follows ":" ends before ";", the next byte.
		column := prefix + "remote_addr"
		out = append(out, sb.Or(sb.Equal(column, w.RemoteAddr),
			sb.And(sb.GreaterThan(column, w.RemoteAddr+":"), sb.LessThan(column, w.RemoteAddr+";")),
			sb.And(sb.GreaterThan(column, "["+w.RemoteAddr+"]:"), sb.LessThan(column, "["+w.RemoteAddr+"];"))))
	}
	return out
}

func within(sb *sqlbuilder.SelectBuilder, column string, s Span) []string {
	var out []string
	if !s.After.IsZero() {
		out = append(out, sb.GreaterThan(column, s.After.UnixMicro()))
	}
	if !s.Before.IsZero() {
		out = append(out, sb.LessThan(column, s.Before.UnixMicro()))
	}
	return out
}

func codes(sb *sqlbuilder.SelectBuilder, column string, code, class int) []string {
	var out []string
	if code != 0 {
		out = append(out, sb.Equal(column, code))
	}
	if class != 0 {
		out = append(out, sb.Between(column, class*100, class*100+99))
	}
	return out
}

// related adds the conditions on rows of other tables that belong to a list's row. Each looks rows up by an index.
func (l *list) related(w *Where, table string) {
	sb := l.sb
	switch table {
	case "attempts":
		l.exists(w.onDelivery(sb, "d."), "deliveries d", "d.id = attempts.delivery_id", "d.")
		l.exists(w.onEvent(sb, "e."), "events e", "e.id = attempts.event_id", "e.")
	case "deliveries":
		l.exists(w.onEvent(sb, "e."), "events e", "e.id = deliveries.event_id", "e.")
		l.exists(w.onAttempt(sb, "a."), "attempts a INDEXED BY attempts_delivery", "a.delivery_id = deliveries.id", "a.")
	case "events":
		on := w.onDelivery(sb, "d.")
		if a := w.onAttempt(sb, "a."); len(a) > 0 {
			on = append(on, l.subquery(a, "attempts a INDEXED BY attempts_delivery", "a.delivery_id = d.id", "a."))
		}
		l.exists(on, "deliveries d INDEXED BY deliveries_event", "d.event_id = events.id", "d.")
	}
}

func (l *list) exists(conditions []string, from, join, prefix string) {
	if len(conditions) > 0 {
		l.check(l.subquery(conditions, from, join, prefix))
	}
}

func (l *list) subquery(conditions []string, from, join, prefix string) string {
	return "EXISTS (SELECT 1 FROM " + from + " WHERE " + l.sb.And(append(conditions, l.sb.Equal(prefix+"tenant", l.Tenant),
		join)...) + ")"
}
