package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/sources/cloudevents"
)

// postEvent is the hot path: no huma, no reflection. The body is read whole, parsed strictly by ingest, and the answer
// is written by hand.
func (a *api) postEvent(w http.ResponseWriter, r *http.Request, c *caller) {
	body, post, err := readEvent(w, r, c)
	var receipt *ingest.Receipt
	if err == nil {
		receipt, err = a.Ingest.Post(r.Context(), post)
	}
	if err != nil {
		a.refuse(w, r, &ingest.Refusal{Tenant: c.tenant, Key: c.key.ID, Body: body, Post: post}, err)
		return
	}
	answer := appendReceipt(make([]byte, 0, 256+96*len(receipt.Deliveries)), receipt)
	answer = append(answer, '}', '\n')
	h := w.Header()
	h["Content-Type"] = jsonContentType
	h["Content-Length"] = []string{strconv.Itoa(len(answer))}
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write(answer) // a client that went away repeats the post
}

// readEvent reads a post. What is refused is given as far as it could be read.
func readEvent(w http.ResponseWriter, r *http.Request, c *caller) (body []byte, p ingest.Post, err error) {
	if !isJSON(r.Header.Get("Content-Type")) {
		return nil, p, errContentType
	}
	if body, err = readBody(w, r, domain.MaxBody); err != nil {
		return nil, p, err
	}
	if p, err = parsePost(r.Header, body, c.tenant); err != nil {
		return body, p, err
	}
	p.Tenant, p.Actor = c.tenant, c.actor()
	p.IdempotencyKey, err = idempotencyKey(r)
	return body, p, err
}

// parsePost reads a post in our own form, or as a CloudEvent.
func parsePost(h http.Header, body []byte, tenant string) (ingest.Post, error) {
	if cloudevents.Is(h) {
		return cloudevents.Post(h, body, tenant)
	}
	return ingest.ParsePost(body)
}

var jsonContentType = []string{"application/json"}

// appendReceipt writes a receipt without its closing brace. Ids, types and times need no escaping by their grammar.
func appendReceipt(b []byte, r *ingest.Receipt) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, r.ID...)
	b = append(b, `","event":"`...)
	b = append(b, r.Event...)
	b = append(b, `","timestamp":"`...)
	b = r.Timestamp.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","duplicate":`...)
	b = strconv.AppendBool(b, r.Duplicate)
	if r.Erased {
		b = append(b, `,"erased":true`...)
	}
	b = append(b, `,"position":`...)
	b = strconv.AppendUint(b, uint64(r.Position), 10)
	b = append(b, `,"deliveries":[`...)
	for i, m := range r.Deliveries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":"`...)
		b = append(b, m.Delivery...)
		b = append(b, `","endpoint_id":"`...)
		b = append(b, m.Endpoint...)
		b = append(b, `"}`...)
	}
	return append(b, ']')
}

var errContentType = newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type",
	"the body's content type is not taken: send the header Content-Type: application/json")

// isJSON says whether a content type is JSON's; none at all is taken as JSON.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == "application/json" {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// bodyWithin is how long a body may take to arrive: a slow one must not hold memory and a goroutine for ever.
const bodyWithin = 30 * time.Second

// trustedBody is how much memory an announced size gets before the body is there, in bytes.
const trustedBody = 64 << 10

// readBody reads a body of at most limit bytes, into a buffer of its size where that is announced and small. A larger
// one gets memory as it arrives: to announce costs nothing.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	rc := http.NewResponseController(w)
	// A writer that knows no deadlines is a test's. The deadline goes with the body: left standing it would end the
	// handler's context.
	if rc.SetReadDeadline(time.Now().Add(bodyWithin)) == nil {
		defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	}
	if n := r.ContentLength; n > trustedBody {
		body := bytes.NewBuffer(make([]byte, 0, trustedBody))
		if got, err := body.ReadFrom(io.LimitReader(r.Body, n)); err != nil || got < n {
			return nil, brokenBody(err)
		}
		return body.Bytes(), nil
	}
	if n := r.ContentLength; n >= 0 {
		body := make([]byte, n)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, brokenBody(err)
		}
		return body, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, brokenBody(err)
	}
	return body, nil
}

// brokenBody is a body that did not come whole; that it is too large stays what it is.
func brokenBody(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return newProblem(http.StatusBadRequest, "incomplete_body", "the body did not arrive whole: send it again")
}

func idempotencyKey(r *http.Request) (string, error) {
	key := r.Header.Get(headerIdempotency)
	if len(key) > ingest.MaxIdempotencyKey {
		return "", newProblem(http.StatusBadRequest, "invalid_idempotency_key",
			"the Idempotency-Key is too long: use at most "+strconv.Itoa(ingest.MaxIdempotencyKey)+" characters")
	}
	return key, nil
}
