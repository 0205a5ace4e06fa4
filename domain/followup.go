package domain

import (
	"encoding/json"
	"time"
)

// Types of the events that follow from what becomes of a cron job's output.
const (
	TypeCronCompleted = "cron.completed"
	TypeCronDelivered = "cron.delivered"
	TypeCronFailed    = "cron.failed"
)

// Operational says that the event type is one by which hookledger speaks of itself. Nobody else can post such an event,
// and the pattern "*" does not take it.
func Operational(eventType string) bool {
	switch eventType {
	case FollowFailing, FollowRecovered, FollowDisabled, FollowExhausted:
		return true
	}
	return false
}

// FollowUpActor is who acts in what follows from records in another stream. An event that it posted is known by that:
// nothing is said of what becomes of its deliveries.
var FollowUpActor = System("followups")

// OperationalData is what an event about an endpoint says. All of it is taken from the follow-up, so that it is the
// same each time.
func (f *FollowUp) OperationalData() (json.RawMessage, error) {
	d := struct {
		EndpointID string     `json:"endpointId"`
		RecordID   string     `json:"recordId"`
		Reason     string     `json:"reason,omitempty"`
		Failures   int        `json:"failures,omitempty"`
		Since      *time.Time `json:"since,omitempty"`
		Error      string     `json:"error,omitempty"`
	}{EndpointID: f.Endpoint, RecordID: f.Evidence.String(), Failures: f.Failures}
	if !f.Since.IsZero() {
		since := f.Since.UTC()
		d.Since = &since
	}
	if f.Kind == FollowDisabled {
		d.Reason = f.Code
	} else {
		d.Error = f.Code
	}
	return json.Marshal(d)
}

// DisableBecause decides to disable the endpoint for what follows from its deliveries. It is nil for an endpoint that
// is gone or disabled already.
func (e *Endpoint) DisableBecause(f *FollowUp) []Fact {
	if !e.Exists() || e.Disabled {
		return nil
	}
	reason := DisabledFailing
	if f.Kind == FollowDisableGone {
		reason = DisabledGone
	}
	return []Fact{&EndpointDisabled{Reason: reason, Evidence: f.Evidence, First: f.First, Since: f.Since,
		Failures: f.Failures}}
}
