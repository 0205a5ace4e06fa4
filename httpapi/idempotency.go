package httpapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/ledger"
)

// headerIdempotency makes a POST repeatable.
const headerIdempotency = "Idempotency-Key"

// headerReplayed marks the answer to a repeat.
const headerReplayed = "Idempotency-Replayed"

// keyless are the POSTs that take no key: test-source writes nothing, and of what a cron system posts, the run's id or
// its body says whether it is a repeat. All others do: a test walks the table.
var keyless = []string{"test-source", "post-cron"}

// takesKey says whether a route takes an Idempotency-Key.
func (rt *route) takesKey() bool {
	return rt.method == http.MethodPost && !slices.Contains(keyless, rt.id)
}

// parts are what the first record of a decision about a thing derives its id from; the key stands last. Without
// one, nothing is derived.
func (c *caller) parts(thing string) []string {
	if c.idempotency == "" {
		return []string{""}
	}
	return []string{c.tenant, c.route.id, thing, c.idempotency}
}

// repeated marks the answer: an earlier request with this Idempotency-Key did what is asked for.
func (c *caller) repeated() { c.replayed = true }

// createdOutput is the answer to a POST that creates: 201, or 200 where an earlier request had created it.
type createdOutput[T any] struct {
	Status   int
	Location string `header:"Location" doc:"Where the resource is."`
	ETag     string `header:"ETag" doc:"The revision, for If-Match."`
	Body     T
}

func answerCreated[T any](c *caller, before bool, location, etag string, body T) *createdOutput[T] {
	if before {
		c.repeated()
		return &createdOutput[T]{http.StatusOK, location, etag, body}
	}
	return &createdOutput[T]{http.StatusCreated, location, etag, body}
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

// decideOnce decides about a thing as ledger.Execute does, and gives its state behind that. Where an earlier request
// with the same Idempotency-Key has decided, nothing is decided again: made is the record that it made. A request that
// changed nothing made none, and so is not remembered.
func decideOnce[A ledger.Aggregate](ctx context.Context, a *api, c *caller, thing string, stream domain.Stream,
	fresh func() A, decide func(A, domain.Stamp) ([]domain.Fact, error)) (state A, made *domain.Record,
	done ledger.Appended, err error) {
	parts := c.parts(thing)
	start := func() *origin[A] { return withOrigin(fresh(), parts...) }
	o, done, err := ledger.Execute(ctx, a.Store, stream, start, func(o *origin[A]) ([]domain.Record, error) {
		if made = o.made; made != nil {
			return nil, nil
		}
		s := a.stamp(c)
		s.Base = a.base(s, parts...)
		facts, err := decide(o.state, s)
		if err != nil || len(facts) == 0 {
			return nil, err
		}
		return s.Records(stream, c.tenant, "", ulid.ULID{}, facts...), nil
	})
	switch {
	case err != nil:
	case made != nil:
		c.repeated()
		done.Position = made.Position
	case done.Duplicate && c.idempotency != "":
		// It is of this append, or of another request's under the same key in the same millisecond: what stands there is
		// read, and who made something that only one of them can have, such as a token, looks for its own in it. Those
		// that ask for the same, such as a disabling, are not told apart: both are answered that it was done.
		if o, _, err = ledger.Load(ctx, a.Store, stream, start); err != nil {
			err = fmt.Errorf("%w: %w", ledger.ErrUnknownOutcome, err)
		}
	}
	return o.state, made, done, err
}

// madeIn looks for the record that an earlier request with these parts made in a stream that is not folded; nil: there
// is none, or the request has no key.
func (a *api) madeIn(ctx context.Context, stream domain.Stream, parts []string) (*domain.Record, error) {
	if parts[len(parts)-1] == "" {
		return nil, nil
	}
	for r, err := range a.Store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return nil, err
		}
		if madeBy(r.ID, parts...) {
			return r, nil
		}
	}
	return nil, nil
}

// idempotencyParam documents the key, of every route that takes one.
func idempotencyParam() *huma.Param {
	return &huma.Param{Name: headerIdempotency, In: "header", Description: "Makes the request repeatable for ever: what " +
		"an earlier one of this route with the same key has done is answered, and not done again; secrets are not shown " +
		"again. With another body it is 409. A request that changed nothing is not remembered.",
		Schema: &huma.Schema{Type: huma.TypeString, MaxLength: ptr(ingest.MaxIdempotencyKey)}}
}

// documentReplayed documents what marks the answer to a repeat.
func documentReplayed(op *huma.Operation) {
	for status, response := range op.Responses {
		if status < "3" {
			headers := maps.Clone(response.Headers)
			if headers == nil {
				headers = map[string]*huma.Header{}
			}
			headers[headerReplayed] = &huma.Header{Schema: &huma.Schema{Type: huma.TypeString},
				Description: "true when an earlier request with this Idempotency-Key, or id, did it."}
			response.Headers = headers
		}
	}
}
