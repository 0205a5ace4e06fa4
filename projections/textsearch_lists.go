package projections

import "encoding/json"

// found narrows a list to what a search for a text has found; column holds the id of the event. nil: nothing was
// searched for. Where the index is that of the events' ids, each is looked up: there are at most MaxTextMatches.
func (l *list) found(events []string, column string) {
	if events == nil {
		return
	}
	condition := column + " IN " + l.ids(events)
	if l.few {
		l.sb.Where(condition)
	} else {
		l.check(condition)
	}
}

// attemptsFound is found for a list of attempts, which are found by their deliveries.
func (l *list) attemptsFound(events []string) {
	if events == nil {
		return
	}
	l.few = true
	l.sb.Where("delivery_id IN (SELECT d.id FROM deliveries d INDEXED BY deliveries_event WHERE d.tenant = " +
		l.sb.Var(l.Tenant) + " AND d.event_id IN " + l.ids(events) + ")")
}

func (l *list) ids(of []string) string {
	list, _ := json.Marshal(of) // strings never fail
	return "(SELECT value FROM json_each(" + l.sb.Var(string(list)) + "))"
}
