package httpapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"hookledger/domain"
	"hookledger/projections"
)

// List is a page of any list, as answered.
type List[T any] struct {
	Data         []T             `json:"data" nullable:"false" doc:"The rows of this page."`
	NextCursor   string          `json:"next_cursor,omitempty" doc:"Give it as cursor to get the page behind this one."`
	HasMore      bool            `json:"has_more" doc:"Whether there is a page behind this one."`
	AsOfPosition domain.Position `json:"as_of_position" doc:"The ledger's position up to which this was folded."`
	AsOf         *time.Time      `json:"as_of,omitempty" doc:"The time that this answer stands for."`
	Total        *Total          `json:"total,omitempty" doc:"Where it was asked for."`
}

// listOutput is what a list answers.
type listOutput[T any] struct {
	Body List[T]
}

// PageInput is what every list takes.
type PageInput struct {
	Limit         int       `query:"limit" minimum:"1" maximum:"250" default:"50" doc:"Rows of a page."`
	Order         string    `query:"order" enum:"asc,desc" default:"desc" doc:"By time of creation."`
	Cursor        string    `query:"cursor" maxLength:"512" doc:"The next_cursor of the page before."`
	CreatedAfter  time.Time `query:"created_after" doc:"Only what was created after this time."`
	CreatedBefore time.Time `query:"created_before" doc:"Only what was created before this time."`
	MinPosition   uint64    `query:"min_position" doc:"Wait until the answer holds everything up to this position."`
}

// NameInput is what a list by name takes.
type NameInput struct {
	Limit       int    `query:"limit" minimum:"1" maximum:"250" default:"50" doc:"Rows of a page."`
	Order       string `query:"order" enum:"asc,desc" default:"asc" doc:"By name."`
	Cursor      string `query:"cursor" maxLength:"512" doc:"The next_cursor of the page before."`
	MinPosition uint64 `query:"min_position" doc:"Wait until the answer holds everything up to this position."`
}

func (in *NameInput) page() *PageInput {
	return &PageInput{Limit: in.Limit, Cursor: in.Cursor, Order: in.Order}
}

func (in *PageInput) list(tenant string) projections.List {
	return projections.List{Tenant: tenant, CreatedAfter: in.CreatedAfter, CreatedBefore: in.CreatedBefore,
		Limit: in.Limit, Ascending: in.Order == "asc", Cursor: in.Cursor}
}

// answerPage turns rows into an answer.
func answerPage[R, T any](p projections.Page[R], err error, show func(*R) T) (*listOutput[T], error) {
	if err != nil {
		return nil, err
	}
	out := &listOutput[T]{Body: List[T]{Data: make([]T, len(p.Rows)), NextCursor: p.NextCursor, HasMore: p.HasMore,
		AsOfPosition: p.AsOfPosition, AsOf: timeOrNil(p.AsOf)}}
	if p.Total != nil {
		out.Body.Total = &Total{Count: p.Total.Rows, AtLeast: p.Total.AtLeast}
	}
	for i := range p.Rows {
		out.Body.Data[i] = show(&p.Rows[i])
	}
	return out, nil
}

// tableNow brings the configuration in memory up to what is on the ledger, or at least to the position asked for, and
// says where it then stands.
func (a *api) tableNow(ctx context.Context, least uint64) (domain.Position, time.Time, error) {
	at := max(a.Store.Head(), domain.Position(least))
	now := a.Now().UTC()
	return at, now, a.configAt(ctx, at)
}

// placed is a row of a list that is held in memory, with what orders it.
type placed[T any] struct {
	at  time.Time
	id  string
	row T
}

// before says whether p stands before q, oldest first.
func (p *placed[T]) before(at time.Time, id string) bool {
	return p.at.Before(at) || p.at.Equal(at) && p.id < id
}

// memoryCursor is the last row of a page of such a list.
type memoryCursor struct {
	At time.Time `json:"t"`
	ID string    `json:"i"`
}

// pageOf cuts a page out of a list held in memory; rows are in order of creation, oldest first.
func pageOf[T any](in *PageInput, rows []placed[T], at domain.Position, asOf time.Time) (*listOutput[T], error) {
	var after *memoryCursor
	if in.Cursor != "" {
		raw, err := base64.RawURLEncoding.DecodeString(in.Cursor)
		after = &memoryCursor{}
		if err != nil || json.Unmarshal(raw, after) != nil || after.ID == "" {
			return nil, newProblem(http.StatusBadRequest, "invalid_cursor",
				"the cursor is not one that was given out: use next_cursor as it is, or begin without a cursor")
		}
	}
	out := &listOutput[T]{Body: List[T]{Data: []T{}, AsOfPosition: at, AsOf: timeOrNil(asOf)}}
	var last *placed[T]
	for i := range rows {
		r := &rows[i]
		if in.Order != "asc" {
			r = &rows[len(rows)-1-i]
		}
		switch {
		case !in.CreatedAfter.IsZero() && !r.at.After(in.CreatedAfter),
			!in.CreatedBefore.IsZero() && !r.at.Before(in.CreatedBefore):
			continue
		case after == nil:
		case in.Order == "asc" && (r.before(after.At, after.ID) || r.id == after.ID),
			in.Order != "asc" && !r.before(after.At, after.ID):
			continue
		}
		if len(out.Body.Data) == in.Limit {
			raw, err := json.Marshal(memoryCursor{last.at, last.id})
			if err != nil {
				return nil, err
			}
			out.Body.HasMore, out.Body.NextCursor = true, base64.RawURLEncoding.EncodeToString(raw)
			break
		}
		out.Body.Data = append(out.Body.Data, r.row)
		last = r
	}
	return out, nil
}

// now is the as_of of a list that is read as it stands.
func (a *api) now() *time.Time {
	t := a.Now().UTC()
	return &t
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (p placed[T]) compare(q placed[T]) int {
	if c := p.at.Compare(q.at); c != 0 {
		return c
	}
	return cmp.Compare(p.id, q.id)
}
