package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"hookledger/domain"
)

// listEventRecords pages through the event's stream and then each of its deliveries', those that replays made last; the
// cursor is the delivery, or nothing for the event, and the revision in its stream.
func (a *api) listEventRecords(ctx context.Context, c *caller, in *eventRecordsInput) (*listOutput[Record], error) {
	ids, err := a.eventStreams(ctx, c, in.ID)
	if err != nil {
		return nil, err
	}
	at, from, err := findCursor(ids, in.Cursor)
	if err != nil {
		return nil, err
	}
	out := &listOutput[Record]{Body: List[Record]{Data: []Record{}, AsOfPosition: a.Store.Head(), AsOf: a.now()}}
	for ; at < len(ids); at, from = at+1, 0 {
		stream := domain.EventStream(c.tenant, in.ID)
		if ids[at] != "" {
			stream = domain.DeliveryStream(c.tenant, ids[at])
		}
		for r, err := range a.Store.ReadStream(ctx, stream, from) {
			if err != nil {
				return nil, err
			}
			if len(out.Body.Data) == in.Limit {
				out.Body.HasMore, out.Body.NextCursor = true, fmt.Sprintf("%s.%d", ids[at], r.Revision)
				return out, nil
			}
			shown, err := showRecord(r)
			if err != nil {
				return nil, err
			}
			out.Body.Data = append(out.Body.Data, shown)
		}
	}
	return out, nil
}

// eventStreams names what holds an event's records: "" for its own stream, then its deliveries as they were routed,
// then those of replays, which only the rows find by the event.
func (a *api) eventStreams(ctx context.Context, c *caller, id string) ([]string, error) {
	e, err := a.readEvent(ctx, c.tenant, id)
	if err != nil {
		return nil, err
	}
	if err := a.rowsAt(ctx, a.Store.Head()); err != nil {
		return nil, err
	}
	rows, err := a.History.EventDeliveries(ctx, c.tenant, id)
	if err != nil {
		return nil, err
	}
	ids := []string{""}
	for _, m := range e.routed.Matches {
		ids = append(ids, m.Delivery)
	}
	routed := len(ids)
	for i := range rows {
		if rows[i].Replay != "" {
			ids = append(ids, rows[i].ID)
		}
	}
	slices.Sort(ids[routed:])
	return ids, nil
}

// findCursor says which of the streams a page begins in, and at which revision.
func findCursor(ids []string, cursor string) (int, domain.Revision, error) {
	if cursor == "" {
		return 0, 0, nil
	}
	id, revision, _ := strings.Cut(cursor, ".")
	from, err := strconv.ParseInt(revision, 10, 64)
	at := slices.Index(ids, id)
	if err != nil || from < 0 || at < 0 {
		return 0, 0, newProblem(http.StatusBadRequest, "invalid_cursor",
			"the cursor is not one that was given out: use next_cursor as it is, or begin without a cursor")
	}
	return at, domain.Revision(from), nil
}

type eventRecordsInput struct {
	ID     string `path:"id" maxLength:"128" doc:"The event's id." example:"evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Limit  int    `query:"limit" minimum:"1" maximum:"250" default:"50" doc:"Rows of a page."`
	Cursor string `query:"cursor" maxLength:"64" doc:"The next_cursor of the page before."`
}
