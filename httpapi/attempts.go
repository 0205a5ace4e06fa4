package httpapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hookledger/domain"
	"hookledger/projections"
	"hookledger/vault"
)

// AttemptSummary is an attempt in a list.
type AttemptSummary struct {
	ID         string    `json:"id" example:"att_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	DeliveryID string    `json:"delivery_id" example:"dlv_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	EventID    string    `json:"event_id" example:"evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	EndpointID string    `json:"endpoint_id" example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	N          int       `json:"n" doc:"From 1."`
	Trigger    string    `json:"trigger" enum:"initial,automatic,manual,replay"`
	Forced     bool      `json:"forced,omitempty" doc:"Sent although the delivery had succeeded; marked on the wire."`
	Status     string    `json:"status" enum:"in_flight,succeeded,failed,interrupted"`
	Code       int       `json:"code,omitempty" doc:"Status of the response: of HTTP, or of SMTP." example:"200"`
	ErrorCode  string    `json:"error_code,omitempty" doc:"Why it failed." example:"timeout"`
	StartedAt  time.Time `json:"started_at"`
	DurationMS float64   `json:"duration_ms,omitempty"`
	RemoteAddr string    `json:"remote_addr,omitempty" example:"203.0.113.7:443"`
	Late       bool      `json:"late,omitempty" doc:"Its outcome came when it was no longer the open attempt."`
}

// Attempt is an attempt with all that the ledger holds of it.
type Attempt struct {
	AttemptSummary
	Request   AttemptRequest    `json:"request" doc:"Exactly what was sent, or was to be sent."`
	Signature *AttemptSignature `json:"signature,omitempty"`
	Response  *AttemptResponse  `json:"response,omitempty" doc:"What came back, if anything did."`
	Failure   *AttemptFailure   `json:"failure,omitempty" doc:"Why no usable answer came, if none did."`
	Timings   *AttemptTimings   `json:"timings,omitempty"`
	TLS       *domain.TLSFacts  `json:"tls,omitempty"`
	Node      string            `json:"node" doc:"The process that made the attempt."`
	Timeout   domain.Duration   `json:"timeout" example:"20s"`
	Erased    bool              `json:"erased,omitempty"`

	hidden []string // of the URL, where the caller may not see it; the longest first
}

// AttemptRequest is a request as it went on the wire.
type AttemptRequest struct {
	Kind    string          `json:"kind" example:"webhook" doc:"The endpoint's: webhook, slack, telegram or email."`
	Method  string          `json:"method" example:"POST"`
	URL     string          `json:"url" example:"https://example.com/hooks/agenfleet" doc:"A bot's token is {vault:…}."`
	Headers []domain.Header `json:"headers" nullable:"false"`
	Body    string          `json:"body,omitempty" doc:"Byte for byte what was sent."`
}

// AttemptSignature is what was signed, with what.
type AttemptSignature struct {
	Scheme           string   `json:"scheme" example:"v1"`
	KeyIDs           []string `json:"key_ids" nullable:"false"`
	WebhookID        string   `json:"webhook_id"`
	WebhookTimestamp int64    `json:"webhook_timestamp" doc:"In unix seconds."`
	Signatures       string   `json:"signatures" doc:"The header's value."`
}

// AttemptResponse is what a receiver answered.
type AttemptResponse struct {
	Status     int             `json:"status" example:"200"`
	Headers    []domain.Header `json:"headers,omitempty"`
	Body       string          `json:"body,omitempty" doc:"Its beginning, where it is text."`
	BodyBase64 string          `json:"body_base64,omitempty" doc:"Its beginning, where it is no text."`
	Truncated  bool            `json:"truncated,omitempty" doc:"More came than is kept."`
	RetryAfter domain.Duration `json:"retry_after,omitzero" required:"false" doc:"That the receiver asked for."`
}

// AttemptFailure says why no usable answer came.
type AttemptFailure struct {
	Phase   string `json:"phase,omitempty" example:"connect"`
	Code    string `json:"code" example:"connection_refused"`
	Message string `json:"message,omitempty"`
	Sent    string `json:"sent,omitempty" enum:"no,maybe" doc:"Whether the request can have reached the receiver."`
}

// AttemptTimings are in milliseconds; a phase that did not happen is absent.
type AttemptTimings struct {
	DNS       float64 `json:"dns_ms,omitempty"`
	Connect   float64 `json:"connect_ms,omitempty"`
	TLS       float64 `json:"tls_ms,omitempty"`
	FirstByte float64 `json:"first_byte_ms,omitempty"`
	Total     float64 `json:"total_ms"`
}

func showAttempt(r *projections.AttemptRow) AttemptSummary {
	return AttemptSummary{ID: r.ID, DeliveryID: r.DeliveryID, EventID: r.EventID, EndpointID: r.EndpointID, N: r.N,
		Trigger: string(r.Trigger), Forced: r.Forced, Status: string(r.Status), Code: r.Code,
		ErrorCode: string(r.ErrorCode), StartedAt: r.StartedAt, DurationMS: milliseconds(r.Duration.Microseconds()),
		RemoteAddr: r.RemoteAddr, Late: r.Late}
}

func milliseconds(us int64) float64 { return float64(us) / 1000 }

func (a *api) registerAttempts() {
	register(a, operation{id: "list-attempts", tag: "Attempts", summary: "List attempts"}, a.listAttempts)
	register(a, operation{id: "get-attempt", tag: "Attempts", summary: "Get an attempt: request, signature, response",
		description: "Read from the delivery's records on the ledger, and opened by the vault."}, a.getAttempt)
}

type listAttemptsInput struct {
	PageInput
	FilterInput
	Status         string `query:"status" enum:"in_flight,succeeded,failed,interrupted"`
	DeliveryStatus string `query:"delivery_status" enum:"pending,in_flight,retrying,succeeded,exhausted,cancelled"`
}

func (a *api) listAttempts(ctx context.Context, c *caller, in *listAttemptsInput) (*listOutput[AttemptSummary], error) {
	if err := a.rowsAt(ctx, domain.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	where, err := in.where(true)
	if err != nil {
		return nil, err
	}
	where.DeliveryStatus, where.EventType = domain.DeliveryStatus(in.DeliveryStatus), in.Event
	where.Replay = in.ReplayID
	where.DeliveryID = "" // an attempt's own
	if err := a.findText(ctx, c.tenant, in.Text, &where, projections.Span{}); err != nil {
		return nil, err
	}
	f := projections.AttemptFilter{List: in.FilterInput.list(&in.PageInput, c), EndpointID: in.EndpointID,
		EventID: in.EventID, DeliveryID: in.DeliveryID, Status: projections.AttemptStatus(in.Status), Code: in.Code,
		ErrorCode: domain.ErrorCode(in.ErrorCode), Where: where}
	page, err := bySubject(ctx, a, &f.List, in.Subject, func() (projections.Page[projections.AttemptRow], error) {
		return a.History.Attempts(ctx, f)
	}, func(r *projections.AttemptRow) string { return r.EventID })
	return answerPage(page, err, showAttempt)
}

type attemptPath struct {
	ID string `path:"id" maxLength:"128" doc:"The attempt's id." example:"att_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
}

type attemptOutput struct {
	Body Attempt
}

func (a *api) getAttempt(ctx context.Context, c *caller, in *attemptPath) (*attemptOutput, error) {
	row, err := a.attempt(ctx, c.tenant, in.ID)
	if err != nil {
		return nil, err
	}
	out := Attempt{AttemptSummary: showAttempt(&row)}
	last := domain.Position(0)
	for r, err := range a.Store.ReadStream(ctx, domain.DeliveryStream(c.tenant, row.DeliveryID), 0) {
		if err != nil {
			return nil, err
		}
		if err := a.addRecord(ctx, c, &out, r); err != nil {
			return nil, err
		}
		last = r.Position
	}
	out.hideURL()
	if (out.Response != nil || out.Failure != nil) && row.Status == projections.AttemptInFlight {
		// The ledger knows the outcome already: the row must not say otherwise.
		if err := a.rowsAt(ctx, last); err != nil {
			return nil, err
		}
		if row, err = a.attempt(ctx, c.tenant, in.ID); err != nil {
			return nil, err
		}
		out.AttemptSummary = showAttempt(&row)
	}
	return &attemptOutput{out}, a.addBody(ctx, c, &out)
}

// attempt finds an attempt's row.
func (a *api) attempt(ctx context.Context, tenant, id string) (projections.AttemptRow, error) {
	return lookAgain(ctx, a, a.rowsAt, func() (projections.AttemptRow, error) {
		return a.History.Attempt(ctx, tenant, id)
	})
}

// addRecord adds what a record of the delivery says about the attempt.
func (a *api) addRecord(ctx context.Context, c *caller, out *Attempt, r *domain.Record) error {
	switch f := r.Fact.(type) {
	case *domain.AttemptStarted:
		if f.Attempt == out.ID {
			return a.addRequest(ctx, c, out, r, f)
		}
	case *domain.RequestSigned:
		if f.Attempt == out.ID {
			addSignature(out, f)
		}
	case *domain.ResponseReceived:
		if f.Attempt == out.ID {
			return a.addResponse(ctx, out, r, f)
		}
	case *domain.AttemptFailed:
		if f.Attempt == out.ID {
			return a.addFailure(ctx, out, r, f)
		}
	case *domain.AttemptInterrupted:
		if f.Attempt == out.ID {
			out.Failure = &AttemptFailure{Code: string(domain.CodeInterrupted), Message: f.Reason, Sent: domain.SentMaybe}
		}
	}
	return nil
}

// addRequest adds the intent. The URL's path stands in the endpoint's record of that revision, and what is sent in this
// one, where it is no event's body.
func (a *api) addRequest(ctx context.Context, c *caller, out *Attempt, started *domain.Record,
	f *domain.AttemptStarted) error {
	out.Node, out.Timeout = f.Node, f.Timeout
	out.Request.Method, out.Request.Headers = f.Method, append([]domain.Header{}, f.Headers...)
	var at *domain.Record
	var cfg *domain.EndpointConfig
	for r, err := range a.Store.ReadStream(ctx, domain.EndpointStream(c.tenant, out.EndpointID), 0) {
		if err != nil {
			return err
		}
		if r.Revision > f.EndpointRevision {
			break
		}
		switch e := r.Fact.(type) {
		case *domain.EndpointRegistered:
			at, cfg = r, &e.Config
		case *domain.EndpointReconfigured:
			at, cfg = r, &e.Config
		}
	}
	if cfg == nil {
		return errors.New("the endpoint's configuration of the attempt is not on the ledger")
	}
	out.Request.Kind = cmp.Or(cfg.Kind, domain.EndpointWebhook)
	var err error
	if out.Request.URL, err = a.targetURL(ctx, c, cfg, vault.PlaceOf(at)); err != nil {
		return err
	}
	if !c.seesURLs() {
		if out.hidden, err = a.hiddenParts(ctx, cfg, vault.PlaceOf(at)); err != nil {
			return err
		}
	}
	if cfg.Kind == domain.EndpointTelegram && cfg.Credential != nil &&
		!strings.HasSuffix(out.Request.URL, hiddenPath) {
		out.Request.URL = botURL(out.Request.URL, cfg.Credential)
	}
	if f.Content.Empty() {
		return nil
	}
	plain, err := a.Vault.Open(ctx, vault.PlaceOf(started), f.Content)
	if errors.Is(err, vault.ErrErased) {
		out.Erased = true
		return nil
	}
	out.Request.Body = string(plain)
	return err
}

// leastHidden is the shortest path, in bytes, that is looked for in an answer: a shorter one is no capability.
const leastHidden = 8

// hiddenParts are the path and the query of a configuration's URL, as they may be repeated: with its first slash or
// without, in another URL, in JSON, or in a page.
func (a *api) hiddenParts(ctx context.Context, cfg *domain.EndpointConfig, p vault.Place) ([]string, error) {
	content, err := a.openEndpoint(ctx, cfg, p)
	if errors.Is(err, vault.ErrErased) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(cfg.Target(content))
	if err != nil {
		return nil, nil // nothing was ever sent there
	}
	var parts []string
	for _, p := range []string{u.EscapedPath(), u.Path, u.RawQuery} {
		for _, p := range []string{p, strings.TrimPrefix(p, "/")} {
			parts = append(parts, p, url.QueryEscape(p), strings.ReplaceAll(p, "/", `\/`), html.EscapeString(p))
		}
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return len(s) < leastHidden })
	slices.SortFunc(parts, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(parts), nil
}

// hideURL takes what the caller may not see of the URL out of what came back: servers repeat it in what they say of a
// path they don't know, or where they redirect.
func (out *Attempt) hideURL() {
	if len(out.hidden) == 0 {
		return
	}
	hide := func(s string) string {
		for _, part := range out.hidden {
			s = strings.ReplaceAll(s, part, hiddenPath)
		}
		return s
	}
	if f := out.Failure; f != nil {
		f.Message = hide(f.Message)
	}
	res := out.Response
	if res == nil {
		return
	}
	res.Body = hide(res.Body)
	if body, err := base64.StdEncoding.DecodeString(res.BodyBase64); err == nil {
		res.BodyBase64 = base64.StdEncoding.EncodeToString([]byte(hide(string(body))))
	}
	for i := range res.Headers {
		res.Headers[i].Value = hide(res.Headers[i].Value)
	}
}

// botURL is where a message to Telegram goes, with what stands for the token.
func botURL(base string, token *domain.VaultRef) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	// The braces come in last: as a part of a path they would be escaped.
	return strings.Replace(u.JoinPath("bot"+token.KeyID, "sendMessage").String(), token.KeyID, token.String(), 1)
}

func addSignature(out *Attempt, f *domain.RequestSigned) {
	out.Signature = &AttemptSignature{Scheme: f.Scheme, KeyIDs: append([]string{}, f.KeyIDs...), WebhookID: f.WebhookID,
		WebhookTimestamp: f.WebhookTimestamp, Signatures: f.Signatures}
	out.Request.Headers = append(out.Request.Headers, domain.Header{Name: domain.HeaderWebhookID, Value: f.WebhookID},
		domain.Header{Name: domain.HeaderWebhookTimestamp, Value: strconv.FormatInt(f.WebhookTimestamp, 10)},
		domain.Header{Name: domain.HeaderWebhookSignature, Value: f.Signatures})
}

func (a *api) addResponse(ctx context.Context, out *Attempt, r *domain.Record, f *domain.ResponseReceived) error {
	out.RemoteAddr, out.TLS, out.Timings = f.RemoteAddr, f.TLS, showTimings(&f.Timings)
	res := &AttemptResponse{Status: f.Status, Truncated: f.Truncated, RetryAfter: f.RetryAfter}
	out.Response = res
	var content domain.ResponseContent
	if err := a.openErasable(ctx, out, vault.PlaceOf(r), f.Content, &content); err != nil {
		return err
	}
	res.Headers = content.Headers
	if utf8.Valid(content.Body) {
		res.Body = string(content.Body)
	} else {
		res.BodyBase64 = base64.StdEncoding.EncodeToString(content.Body)
	}
	return nil
}

func (a *api) addFailure(ctx context.Context, out *Attempt, r *domain.Record, f *domain.AttemptFailed) error {
	out.RemoteAddr, out.Timings = f.RemoteAddr, showTimings(&f.Timings)
	var content domain.FailureContent
	err := a.openErasable(ctx, out, vault.PlaceOf(r), f.Content, &content)
	out.Failure = &AttemptFailure{Phase: f.Phase, Code: string(f.Code), Message: content.Message, Sent: f.Sent}
	return err
}

// addBody adds the event's body, which every attempt sends that has nothing of its own.
func (a *api) addBody(ctx context.Context, c *caller, out *Attempt) error {
	if out.Request.Body != "" {
		return nil
	}
	e, err := a.readEvent(ctx, c.tenant, out.EventID)
	if err != nil {
		return err
	}
	var content domain.EventContent
	if err := a.openErasable(ctx, out, vault.PlaceOf(e.record), e.received.Content, &content); err != nil {
		return err
	}
	out.Request.Body = string(content.Body)
	return nil
}

// openErasable opens content, or notes that it was erased.
func (a *api) openErasable(ctx context.Context, out *Attempt, p vault.Place, s *domain.Sealed, into any) error {
	err := a.open(ctx, p, s, into)
	if errors.Is(err, vault.ErrErased) {
		out.Erased = true
		return nil
	}
	return err
}

func showTimings(t *domain.Timings) *AttemptTimings {
	return &AttemptTimings{DNS: milliseconds(t.DNS), Connect: milliseconds(t.Connect), TLS: milliseconds(t.TLS),
		FirstByte: milliseconds(t.FirstByte), Total: milliseconds(t.Total)}
}
