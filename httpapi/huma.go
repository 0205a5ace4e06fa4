package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// huma's errors are made by functions in variables of its package, and its reading of field names is a variable too:
// they are the only way to answer every error in one shape, and to refuse a field in another case. They are set once,
// before anything is served.
func init() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return humaProblem(status, msg, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		p := humaProblem(status, msg, errs)
		url := ctx.URL()
		p.Instance = url.Path
		p.headers(ctx.SetHeader)
		return p
	}
	huma.ValidateStrictCasing = true
}

// humaProblem turns what huma refuses into a problem. It never quotes a value: some are secrets.
func humaProblem(status int, msg string, errs []error) *Problem {
	var p *Problem
	switch status {
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		p = newProblem(http.StatusBadRequest, "invalid_request", "")
	case http.StatusRequestEntityTooLarge:
		p = newProblem(status, "body_too_large", "the body is too large: "+msg)
		p.Fix = "send less at a time"
	case http.StatusUnsupportedMediaType:
		p = newProblem(status, "unsupported_media_type", "the body's content type is not taken: send application/json")
	case http.StatusRequestTimeout:
		p = newProblem(status, "body_timeout", "the body came too slowly: send it again")
	default:
		p = newProblem(status, "error", msg)
		p.Fix = "" // who knows what it says
	}
	var said []string
	for _, err := range errs {
		f := FieldProblem{}
		var detail *huma.ErrorDetail
		switch {
		case err == nil:
			continue
		case errors.As(err, &detail):
			f.Location, f.Message = shortenedTo(longestPlace, detail.Location), detail.Message
		default:
			f.Message = err.Error()
		}
		if fault := parseFault(f.Message); fault != nil && len(errs) == 1 {
			return fault.problem()
		}
		p.Errors = append(p.Errors, f)
		said = append(said, strings.TrimPrefix(f.Location+": "+f.Message, ": "))
	}
	if len(p.Errors) == 1 && strings.HasPrefix(p.Errors[0].Message, noJSON) {
		p.Code = "invalid_json"
	}
	switch {
	case p.Detail != "":
	case len(said) == 0:
		p.Detail = msg + ": " + seeDocument
	default:
		p.Detail = strings.Join(said[:min(len(said), 3)], "; ") + ": " + seeDocument
	}
	return p
}

// jsonFormat reads and writes JSON. What is ambiguous in a body (a name twice, invalid UTF-8) is refused.
var jsonFormat = huma.Format{
	Marshal: huma.DefaultJSONFormat.Marshal,
	Unmarshal: func(data []byte, v any) error {
		if err := checkJSON(data); err != nil {
			return err
		}
		if err := json.Unmarshal(data, v); err != nil {
			return inField(data, v)
		}
		return nil
	},
}

// longestPlace bounds what an answer says of where something is wrong: keys of a map may be of any length.
const longestPlace = 128

// noJSON begins every complaint about a text that is no JSON.
const noJSON = "this is no valid JSON: "

// checkJSON says what is wrong with a text as one JSON value, without quoting it.
func checkJSON(data []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	if err := dec.SkipValue(); err != nil {
		return errors.New(noJSON + jsonComplaint(err))
	}
	if rest := bytes.TrimLeft(data[dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return errors.New(noJSON + "something follows the value")
	}
	return nil
}

func jsonComplaint(err error) string {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "a name stands twice in an object"
	case errors.As(err, &syntax):
		return fmt.Sprintf("%v at byte %d", syntax.Err, syntax.ByteOffset)
	}
	return "it ends too early"
}

// operation is what huma is told about a route: the rest stands in the table.
type operation struct {
	id          string
	summary     string
	description string
	tag         string
	status      int // when all went well; 0: 200
	maxBody     int64
	patience    time.Duration // how long the answer may take; 0: answerWithin
	document    func(*huma.Operation)
}

// answerWithin is how long the ledger may take for what a request asks of it. A change is then answered with that
// nobody knows whether it was made.
const answerWithin = 30 * time.Second

// register binds a handler to its line in the table of routes. The handler's errors are answered as problems.
func register[I, O any](a *api, o operation, handler func(context.Context, *caller, *I) (*O, error)) {
	op := a.describe(o)
	within := cmp.Or(o.patience, answerWithin)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		c := callerOf(ctx)
		out, err := handler(ctx, c, in)
		if err == nil {
			if c.replayed {
				c.answer.Set(headerReplayed, "true")
			}
			return out, nil
		}
		p := problemOf(err)
		a.finish(p, op.Method, c.path)
		header := http.Header{}
		p.headers(header.Set)
		return nil, huma.ErrorWithHeaders(p, header)
	})
	a.redocument(&op, o)
}

// redocument mends what huma has written about an operation: a body that its handler reads by itself, and the second
// status of what can be created twice.
func (a *api) redocument(op *huma.Operation, o operation) {
	documented := operationOf(a.huma.OpenAPI(), op.Path, op.Method)
	if o.document != nil {
		a.later = append(a.later, func() { o.document(documented) })
	}
	if routeOf(o.id).takesKey() {
		a.later = append(a.later, func() { documentReplayed(documented) })
	}
	if o.status == http.StatusCreated {
		repeat := *documented.Responses[statusText(http.StatusCreated)]
		repeat.Description = "An earlier request with this Idempotency-Key made it; secrets are not shown again."
		documented.Responses[statusText(http.StatusOK)] = &repeat
	}
}
