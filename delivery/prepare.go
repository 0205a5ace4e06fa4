package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"hookledger/domain"
	"hookledger/vault"
)

const (
	userAgent          = "hookledger"
	defaultContentType = "application/json"
	headerUserAgent    = "User-Agent"
	headerLength       = "Content-Length"
	headerContentType  = "Content-Type"
)

// target is where an endpoint's requests go by one of its configurations; it is shared and never changes.
type target struct {
	config domain.Revision
	record string // the configuration's id: two endpoints of one name are told apart by it
	url    *url.URL
	host   string
}

// prepared is a request with all that goes on the wire. Nothing of it depends on the wire, so that it can be recorded
// before a byte of it is sent.
type prepared struct {
	target  *target
	method  string
	timeout time.Duration
	body    []byte
	keyID   string          // the data key that what quotes the event is sealed under; empty: not known
	headers []domain.Header // as recorded, in the order of the wire
	signed  domain.RequestSigned
	header  http.Header // as sent
}

// prepare opens and signs what an attempt at now sends. It always gives as much as is known, for the record of a
// failure. A panic on the way is an error like any other.
func (d *Delivery) prepare(due domain.Due, e *domain.Endpoint, now time.Time) (p *prepared, err error) {
	p = &prepared{method: http.MethodPost, timeout: time.Duration(e.Config.Timeout)}
	if p.timeout <= 0 {
		p.timeout = domain.DefaultTimeout
	}
	defer caught(&err)
	ctx := d.recording
	event, err := d.cfg.Bodies.Event(ctx, due.Tenant, due.Event)
	if err != nil {
		return p, fmt.Errorf("open the event %s: %w", due.Event, err)
	}
	p.body, p.keyID = event.Body, event.KeyID
	if p.target, err = d.target(ctx, e); err != nil {
		return p, err
	}
	key, err := d.cfg.Vault.SigningKey(ctx, e.Config.Signing.KeyID)
	if err != nil {
		return p, signingError(err)
	}
	contentType := defaultContentType
	if event.Received != nil && event.Received.ContentType != "" {
		contentType = event.Received.ContentType
	}
	p.headers = []domain.Header{{Name: headerUserAgent, Value: userAgent},
		{Name: headerLength, Value: strconv.Itoa(len(p.body))}, {Name: headerContentType, Value: contentType}}
	ts := now.Unix()
	p.signed = domain.RequestSigned{Scheme: domain.SchemeV1, KeyIDs: []string{e.Config.Signing.KeyID},
		WebhookID: due.Event, WebhookTimestamp: ts, Signatures: domain.Sign([][]byte{key}, due.Event, ts, p.body)}
	return p, nil
}

// signingError keeps "erased" to mean the event: an endpoint whose signing key is gone is a fault, and recorded as one.
func signingError(err error) error { return fmt.Errorf("the endpoint's signing key: %v", err) } //nolint:errorlint // so

// wireHeaders makes the request's headers of the recorded ones and the signature. The names are written as they stand,
// and Content-Length comes from the body.
func (p *prepared) wireHeaders(recorded []domain.Header) {
	values := make([]string, len(recorded)+3)
	p.header = make(http.Header, len(values))
	set := func(i int, name, value string) {
		values[i] = value
		p.header[name] = values[i : i+1 : i+1]
	}
	for i, h := range recorded {
		if h.Name != headerLength {
			set(i, h.Name, h.Value)
		}
	}
	n := len(recorded)
	set(n, domain.HeaderWebhookID, p.signed.WebhookID)
	set(n+1, domain.HeaderWebhookTimestamp, strconv.FormatInt(p.signed.WebhookTimestamp, 10))
	set(n+2, domain.HeaderWebhookSignature, p.signed.Signatures)
}

// target opens the endpoint's URL; one configuration is opened once.
func (d *Delivery) target(ctx context.Context, e *domain.Endpoint) (*target, error) {
	key := domain.EndpointKey{Tenant: e.Tenant, Endpoint: e.ID}
	record := string(e.ConfigRecord[:])
	if t, ok := d.targets.Get(key); ok && t.config == e.ConfigRevision && t.record == record {
		return t, nil
	}
	plain, err := d.cfg.Vault.Open(ctx, vault.Place{Tenant: e.Tenant, Stream: domain.EndpointStream(e.Tenant, e.ID),
		Record: e.ConfigRecord, Type: e.ConfigType}, e.Config.Content)
	if err != nil {
		return nil, fmt.Errorf("the endpoint's url: %v", err) //nolint:errorlint // "erased" means the event here
	}
	var content domain.EndpointContent
	if err := json.Unmarshal(plain, &content); err != nil {
		return nil, fmt.Errorf("the endpoint's url can't be read")
	}
	u, err := url.Parse(e.Config.Target(content))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("the endpoint's url can't be read")
	}
	t := &target{config: e.ConfigRevision, record: record, url: u, host: e.Config.Host}
	d.targets.Add(key, t)
	return t, nil
}
