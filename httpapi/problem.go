package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// problemType is the content type of every error (RFC 9457).
const problemType = "application/problem+json"

// Problem is the body of every error: RFC 9457 problem details with a stable code.
type Problem struct {
	Title    string         `json:"title" doc:"The HTTP status in words." example:"Bad Request"`
	Status   int            `json:"status" doc:"The HTTP status." example:"400"`
	Code     string         `json:"code" doc:"What went wrong; stable, made for programs." example:"no_event_types"`
	Detail   string         `json:"detail" doc:"What is wrong, and what to do about it."`
	Fix      string         `json:"fix,omitempty" doc:"What to do about it; detail ends with it."`
	Instance string         `json:"instance,omitempty" doc:"The path that was asked for." example:"/v1/endpoints"`
	Errors   []FieldProblem `json:"errors,omitempty" doc:"What is wrong with which part of the request."`
	// RetryAfter says it of one event of a batch too, which has no headers of its own.
	RetryAfter int `json:"retry_after,omitempty" doc:"In how many seconds to repeat it, as the header Retry-After says."`

	retryAfter time.Duration
	cause      error // of an internal error, or the ledger's: for the log, never for the client
}

// FieldProblem is one thing that is wrong with a request. It never quotes the value.
type FieldProblem struct {
	Location string `json:"location,omitempty" doc:"Where, such as body.event_types[0]." example:"body.url"`
	Message  string `json:"message" doc:"What is wrong there." example:"expected string"`
}

func (p *Problem) Error() string { return p.Detail }

// Unwrap gives what an internal error was caused by.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus makes a Problem a huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes a Problem a huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

// newProblem takes what is wrong and, behind ": ", what to do about it.
func newProblem(status int, code, detail string) *Problem {
	_, fix, _ := strings.Cut(detail, ": ")
	p := &Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Fix: fix}
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		p.retryAfter = time.Second
	}
	return p
}

// problemOf is the one mapping of errors to answers. What is not known here is an internal error: the client is told
// nothing but where to look, and the cause goes to the log.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		c := *p
		return &c
	}
	// What a store says of itself beside these is for the log: it names hosts and users of ours.
	switch {
	case errors.Is(err, ledger.ErrUnknownOutcome):
		p = newProblem(http.StatusServiceUnavailable, "unknown_outcome",
			"it is not known whether this was written: repeat the request with the same id or Idempotency-Key")
	case errors.Is(err, ledger.ErrUnavailable), errors.Is(err, ledger.ErrClosed):
		p = newProblem(http.StatusServiceUnavailable, "unavailable",
			"the ledger is not available: nothing was written, repeat the request")
	}
	if p != nil {
		p.cause = err
		return p
	}
	var refusal *domain.Error
	if errors.As(err, &refusal) {
		p = newProblem(statusOf(refusal), refusal.Code, refusal.Error())
		p.Fix = refusal.Fix
		p.retryAfter = max(p.retryAfter, refusal.After)
		return p
	}
	var tooLarge *http.MaxBytesError
	var fault *fieldFault
	switch {
	case errors.As(err, &fault):
		return fault.problem()
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "body_too_large",
			"the body is too large: send at most "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes")
	case errors.Is(err, ledger.ErrTooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "append_too_large",
			"this is more than one append can hold: make it smaller")
	case errors.Is(err, ledger.ErrConflict):
		return newProblem(http.StatusServiceUnavailable, "contended",
			"too many writers at once changed the same thing: repeat the request")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return newProblem(http.StatusServiceUnavailable, "timeout", "the request took too long: repeat it")
	}
	p = newProblem(http.StatusInternalServerError, "internal", "")
	p.cause = err
	return p
}

func statusOf(e *domain.Error) int {
	switch e.Kind {
	case domain.KindInvalid:
		return http.StatusBadRequest
	case domain.KindNotFound:
		return http.StatusNotFound
	case domain.KindConflict:
		if e.Code == "revision_conflict" {
			return http.StatusPreconditionFailed
		}
		return http.StatusConflict
	case domain.KindForbidden:
		return http.StatusForbidden
	case domain.KindTooLarge:
		return http.StatusRequestEntityTooLarge
	case domain.KindNoRoom:
		return http.StatusInsufficientStorage
	case domain.KindUnavailable:
		return http.StatusServiceUnavailable
	case domain.KindLimited:
		return http.StatusTooManyRequests
	case domain.KindErased:
		return http.StatusGone
	}
	return http.StatusInternalServerError
}

// headers that go with a problem.
func (p *Problem) headers(set func(name, value string)) {
	set("Cache-Control", "no-store")
	if s := p.retrySeconds(); s > 0 {
		set("Retry-After", strconv.Itoa(s))
	}
	if p.Status == http.StatusUnauthorized {
		set("WWW-Authenticate", `Bearer realm="hookledger"`)
	}
}

// retrySeconds are the whole seconds after which the request can be repeated.
func (p *Problem) retrySeconds() int { return int((p.retryAfter + time.Second - 1) / time.Second) }

// finish completes a problem for one request, and logs its cause: that of an internal one under an id that the client
// gets.
func (a *api) finish(p *Problem, method, path string) {
	p.Instance, p.RetryAfter = path, p.retrySeconds()
	if p.Status != http.StatusInternalServerError {
		if p.cause != nil {
			a.Logger.Warn("the ledger did not answer a request", "method", method, "path", path, "error", p.cause)
		}
		return
	}
	id := a.NewID().String()
	a.Logger.Error("request failed", "error_id", id, "method", method, "path", path, "error", p.cause)
	p.Code, p.Detail = "internal", "an internal error; the server's log says more under error_id "+id
}

// fail answers a request with the problem of an error.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	a.finish(p, r.Method, r.URL.Path)
	p.headers(w.Header().Set)
	w.Header().Set("Content-Type", problemType)
	writeJSON(w, p.Status, p)
}

// writeJSON writes a small answer; the client's going away is its own affair.
func writeJSON(w http.ResponseWriter, status int, v any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}
