package httpapi

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"

	"hookledger/domain"
	"hookledger/ingest"
)

// maxBatchBody bounds a batch's body, in bytes.
const maxBatchBody = 16 << 20

var (
	errBatchTooLarge = newProblem(http.StatusRequestEntityTooLarge, "batch_too_large",
		"a batch has at most 1000 events: split it")
	errBatchEmpty = newProblem(http.StatusBadRequest, "batch_empty",
		"the batch has no event: send a JSON array, or one JSON object a line with Content-Type: application/x-ndjson")
	errBatchArray = newProblem(http.StatusBadRequest, "invalid_json",
		"the body is no JSON array: send one, or one JSON object a line with Content-Type: application/x-ndjson")
	errBatchType = newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type",
		"the body's content type is not taken: send application/json with an array, or application/x-ndjson with one "+
			"event a line")
)

// postEvents takes up to 1,000 events, each on its own: one that is refused does not keep the others out. The answer
// has one result per event, in order. When all of them fail by the server's fault or by the tenant's rate, so does the
// request.
func (a *api) postEvents(w http.ResponseWriter, r *http.Request, c *caller) {
	body, key, events, err := readBatch(w, r)
	if err != nil {
		a.refuse(w, r, &ingest.Refusal{Tenant: c.tenant, Key: c.key.ID, Body: body}, err)
		return
	}
	results := a.postAll(r, c, key, events)
	if p := allFailed(results); p != nil {
		a.fail(w, r, p)
		return
	}
	a.answerBatch(w, r, results)
}

// readBatch reads a batch and takes it apart. What is refused as a whole is given as far as it was read.
func readBatch(w http.ResponseWriter, r *http.Request) (body []byte, key string, events [][]byte, err error) {
	split, err := splitter(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, "", nil, err
	}
	if key, err = idempotencyKey(r); err != nil {
		return nil, "", nil, err
	}
	if body, err = readBody(w, r, maxBatchBody); err != nil {
		return nil, "", nil, err
	}
	if events, err = split(body); err == nil && len(events) == 0 {
		err = errBatchEmpty
	}
	return body, key, events, err
}

// postAll parses the events and posts those that can be; results stand in the order of the events.
func (a *api) postAll(r *http.Request, c *caller, key string, events [][]byte) []ingest.Result {
	results := make([]ingest.Result, len(events))
	posts := make([]ingest.Post, 0, len(events))
	at := make([]int, 0, len(events)) // of each post, in results
	for i, raw := range events {
		if len(raw) > domain.MaxBody {
			results[i].Err = &http.MaxBytesError{Limit: domain.MaxBody}
			a.countRefusal(&ingest.Refusal{Tenant: c.tenant, Key: c.key.ID, Body: raw}, results[i].Err)
			continue
		}
		p, err := ingest.ParsePost(raw)
		if err != nil {
			results[i].Err = err
			a.countRefusal(&ingest.Refusal{Tenant: c.tenant, Key: c.key.ID, Body: raw}, err)
			continue
		}
		p.Tenant, p.Actor = c.tenant, c.actor()
		if key != "" {
			p.IdempotencyKey, p.IdempotencyIndex = key, &i
		}
		posts, at = append(posts, p), append(at, i)
	}
	for i, res := range a.Ingest.PostBatch(r.Context(), posts) {
		results[at[i]] = res
		if res.Err != nil {
			refused := ingest.Refusal{Tenant: c.tenant, Key: c.key.ID, Body: events[at[i]], Post: posts[i]}
			a.countRefusal(&refused, res.Err)
		}
	}
	return results
}

// allFailed gives the problem of a batch of which nothing was taken because of the server, or of the tenant's rate.
func allFailed(results []ingest.Result) *Problem {
	var first *Problem
	for i := range results {
		if results[i].Err == nil {
			return nil
		}
		p := problemOf(results[i].Err)
		if p.Status < 500 && p.Status != http.StatusTooManyRequests {
			return nil
		}
		if first == nil {
			first = p
		}
	}
	return first
}

// answerBatch writes {"accepted", "refused", "data"}: of each event its status, and its receipt or problem.
func (a *api) answerBatch(w http.ResponseWriter, r *http.Request, results []ingest.Result) {
	refused := 0
	for i := range results {
		if results[i].Err != nil {
			refused++
		}
	}
	b := make([]byte, 0, 64+256*len(results))
	b = append(b, `{"accepted":`...)
	b = strconv.AppendInt(b, int64(len(results)-refused), 10)
	b = append(b, `,"refused":`...)
	b = strconv.AppendInt(b, int64(refused), 10)
	b = append(b, `,"data":[`...)
	for i := range results {
		if i > 0 {
			b = append(b, ',')
		}
		if results[i].Err == nil {
			b = appendReceipt(b, results[i].Receipt)
			b = append(b, `,"status":202}`...)
			continue
		}
		p := problemOf(results[i].Err)
		a.finish(p, r.Method, r.URL.Path)
		if p.Status == http.StatusTooManyRequests {
			p.headers(w.Header().Set) // of each the same: when the rate lets one through
		}
		text, err := json.Marshal(p)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		b = append(b, `{"status":`...)
		b = strconv.AppendInt(b, int64(p.Status), 10)
		b = append(b, `,"error":`...)
		b = append(append(b, text...), '}')
	}
	b = append(b, "]}\n"...)
	w.Header()["Content-Type"] = jsonContentType
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b) // a client that went away repeats the batch
}

// splitter is how a batch of this content type is taken apart.
func splitter(contentType string) (func([]byte) ([][]byte, error), error) {
	if contentType == "" {
		return splitEither, nil
	}
	t, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return nil, errBatchType
	case t == "application/x-ndjson" || t == "application/ndjson" || t == "application/jsonl":
		return splitLines, nil
	case t == "application/json":
		return splitEither, nil
	}
	return nil, errBatchType
}

// splitEither takes an array, or lines where the text begins with an object.
func splitEither(body []byte) ([][]byte, error) {
	if text := bytes.TrimLeft(body, jsonSpace); len(text) > 0 && text[0] == '{' {
		return splitLines(body)
	}
	return splitArray(body)
}

const jsonSpace = " \t\r\n"

func splitLines(body []byte) ([][]byte, error) {
	var out [][]byte
	for line := range bytes.Lines(body) {
		if line = bytes.Trim(line, jsonSpace); len(line) == 0 {
			continue
		}
		if len(out) == ingest.MaxBatch {
			return nil, errBatchTooLarge
		}
		out = append(out, line)
	}
	return out, nil
}

// splitArray finds the elements of a JSON array, each exactly as it stands. It looks at brackets and strings only: what
// an element is, is judged by whoever parses it.
func splitArray(body []byte) ([][]byte, error) {
	rest := bytes.TrimLeft(body, jsonSpace)
	if len(rest) == 0 || rest[0] != '[' {
		return nil, errBatchArray
	}
	rest = bytes.TrimLeft(rest[1:], jsonSpace)
	var out [][]byte
	if len(rest) > 0 && rest[0] == ']' {
		return out, onlySpace(rest[1:])
	}
	for {
		end := elementEnd(rest)
		if end < 0 {
			return nil, errBatchArray
		}
		element := bytes.TrimRight(rest[:end], jsonSpace)
		if len(element) == 0 {
			return nil, errBatchArray
		}
		if len(out) == ingest.MaxBatch {
			return nil, errBatchTooLarge
		}
		out = append(out, element)
		if rest[end] == ']' {
			return out, onlySpace(rest[end+1:])
		}
		rest = bytes.TrimLeft(rest[end+1:], jsonSpace)
	}
}

func onlySpace(b []byte) error {
	if len(bytes.TrimLeft(b, jsonSpace)) > 0 {
		return errBatchArray
	}
	return nil
}

// elementEnd is the place of the comma or bracket behind an array's element, -1 where there is none.
func elementEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := stringEnd(b[i+1:])
			if n < 0 {
				return -1
			}
			i += n
		case '{', '[':
			depth++
		case '}':
			depth--
		case ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
		if depth < 0 {
			return -1
		}
	}
	return -1
}

// stringEnd is how far behind a string's opening quote its closing one stands, counted from 1; -1 without one.
func stringEnd(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}
