package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/projections"
	"hookledger/vault"
)

// Refusals count what was posted and refused; *ingest.Refusals do.
type Refusals interface {
	Count(r *ingest.Refusal)
}

var _ Refusals = (*ingest.Refusals)(nil)

// Refusal is what one producer posted in a minute and was refused for one reason.
type Refusal struct {
	ID        string        `json:"id" example:"rfs_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	CreatedAt time.Time     `json:"created_at" doc:"When it was written: once a minute."`
	Reason    string        `json:"reason" doc:"The code that the producer was answered." example:"schema_mismatch"`
	Count     int           `json:"count" doc:"Posts, or events of batches."`
	KeyID     string        `json:"key_id,omitempty" doc:"The API key, or the source whose token it was; absent: several."`
	FirstAt   time.Time     `json:"first_at"`
	LastAt    time.Time     `json:"last_at"`
	Erased    bool          `json:"erased,omitempty" doc:"What the first post was has been erased."`
	First     *RefusedEvent `json:"first,omitempty" doc:"The first of the posts."`
}

// RefusedEvent is a post that was refused, as far as it could be read.
type RefusedEvent struct {
	Detail string `json:"detail" doc:"What the producer was told."`
	Event  string `json:"event,omitempty" doc:"The type, as posted." example:"agent.budget_alert"`
	ID     string `json:"id,omitempty" doc:"The event's id, as posted."`
	Size   int    `json:"size,omitempty" doc:"Of the body, in bytes."`
	SHA256 string `json:"sha256,omitempty" doc:"Of the body, in hex; absent where it was not read to its end."`
}

func (a *api) registerRefusals() {
	register(a, operation{id: "list-refusals", tag: "Events", summary: "List refused posts",
		description: "What was posted with a key (or a source's token) and refused: the schema, the size, a conflict, an " +
			"unknown type, what is no JSON. One row for each minute, key and reason, however many posts it counts; it is " +
			"there within a minute. What the node can't take for now (5xx) is not among them."}, a.listRefusals)
}

type listRefusalsInput struct {
	PageInput
	Reason string `query:"reason" maxLength:"64" doc:"The code that was answered." example:"schema_mismatch"`
	KeyID  string `query:"key_id" maxLength:"128" doc:"The API key that posted, or the source."`
}

func (a *api) listRefusals(ctx context.Context, c *caller, in *listRefusalsInput) (*listOutput[Refusal], error) {
	if err := a.rowsAt(ctx, domain.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	page, err := a.History.Refusals(ctx, projections.RefusalFilter{List: in.list(c.tenant), Key: in.KeyID,
		Reason: in.Reason})
	var failed error
	out, err := answerPage(page, err, func(r *domain.Refusal) Refusal {
		shown, err := a.showRefusal(ctx, r)
		failed = errors.Join(failed, err)
		return shown
	})
	return out, errors.Join(err, failed)
}

func (a *api) showRefusal(ctx context.Context, r *domain.Refusal) (Refusal, error) {
	f := &r.Refused
	out := Refusal{ID: r.ID, CreatedAt: r.CreatedAt, Reason: f.Reason, Count: f.Count, KeyID: f.Key, FirstAt: f.FirstAt,
		LastAt: f.LastAt}
	var content domain.RefusalContent
	err := a.open(ctx, vault.Place{Tenant: r.Tenant, Stream: r.Ref.Stream, Record: r.Ref.Record, Type: f.RecordType()},
		f.Content, &content)
	if errors.Is(err, vault.ErrErased) {
		out.Erased = true
		return out, nil
	}
	out.First = &RefusedEvent{Detail: content.Detail, Event: content.Event, ID: content.ID, Size: content.Size,
		SHA256: content.SHA256}
	return out, err
}

// refuse answers a post that is not taken, and counts it. r.Reason and r.Detail are the error's.
func (a *api) refuse(w http.ResponseWriter, req *http.Request, r *ingest.Refusal, err error) {
	a.countRefusal(r, err)
	a.fail(w, req, err)
}

// countRefusal counts a post whose producer must mend it, and not what the node can't take for now.
func (a *api) countRefusal(r *ingest.Refusal, err error) {
	if a.Refusals == nil {
		return
	}
	p := problemOf(err)
	if p.Status < http.StatusBadRequest || p.Status >= http.StatusInternalServerError {
		return
	}
	r.Reason, r.Detail = p.Code, p.Detail
	a.Refusals.Count(r)
}
