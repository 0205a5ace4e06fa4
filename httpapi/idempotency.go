package httpapi

import (
	"net/http"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// headerIdempotency makes a POST repeatable.
const headerIdempotency = "Idempotency-Key"

// IdempotencyInput is taken by every POST that creates; a key is at most ingest.MaxIdempotencyKey long.
type IdempotencyInput struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"256" doc:"Makes the request repeatable."`
}

// createdOutput is the answer to a POST that creates: 201, or 200 where an earlier request had created it.
type createdOutput[T any] struct {
	Status   int
	Location string `header:"Location" doc:"Where the resource is."`
	Replayed string `header:"Idempotency-Replayed" doc:"true when an earlier request with this key made it."`
	ETag     string `header:"ETag" doc:"The revision, for If-Match."`
	Body     T
}

func answerCreated[T any](before bool, location, etag string, body T) *createdOutput[T] {
	if before {
		return &createdOutput[T]{http.StatusOK, location, "true", etag, body}
	}
	return &createdOutput[T]{http.StatusCreated, location, "", etag, body}
}

// origin folds an aggregate and remembers the record, if there is one, that an earlier request with the same
// Idempotency-Key made.
type origin[A ledger.Aggregate] struct {
	state A
	parts []string
	made  *domain.Record
}

func withOrigin[A ledger.Aggregate](state A, parts ...string) *origin[A] {
	return &origin[A]{state: state, parts: parts}
}

// Evolve makes an origin a ledger.Aggregate. A decision of two records carries the derived id on its first.
func (o *origin[A]) Evolve(r *domain.Record) {
	if o.made == nil && madeBy(r.ID, o.parts...) {
		o.made = r
	}
	o.state.Evolve(r)
}

var errIdempotencyConflict = newProblem(http.StatusConflict, "idempotency_conflict",
	"this Idempotency-Key was used with another body: use a new key for a new request")

// newID is a resource's id: derived from the Idempotency-Key where there is one, so that the creating append at "no
// stream" finds out whether the request is a repeat.
func (a *api) newID(prefix, tenant, route, key string) string {
	if key == "" {
		return domain.NewID(prefix, a.NewID())
	}
	return domain.NewID(prefix, domain.DerivedID(time.Time{}, tenant, route, key))
}

// base is the id of a decision's first record: for a resource whose own id can't be derived (a tenant, an event type, a
// retry), the record's id is, at the time of the decision.
func (a *api) base(s domain.Stamp, parts ...string) ulid.ULID {
	if parts[len(parts)-1] == "" {
		return s.Base
	}
	return domain.DerivedID(s.At, parts...)
}

// madeBy says whether a record was made by a request with these parts: by base, at the time in the record's own id.
func madeBy(id ulid.ULID, parts ...string) bool {
	return parts[len(parts)-1] != "" && id == domain.DerivedID(id.Timestamp(), parts...)
}
