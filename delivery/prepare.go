package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
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
	// demands are nil for an endpoint that asks for no more than the signature.
	demands *demands
	// content and secret are for destinations that need more than the URL.
	content domain.EndpointContent
	secret  domain.Secret
}

// prepared is a request with all that goes on the wire. Nothing of it depends on the wire, so that it can be recorded
// before a byte of it is sent.
type prepared struct {
	to      destination
	target  *target
	method  string
	url     *url.URL
	timeout time.Duration
	body    []byte
	keyID   string          // the data key that what quotes the event is sealed under; empty: not known
	headers []domain.Header // as recorded, in the order of the wire
	signed  domain.RequestSigned
	content []byte      // what is recorded, sealed, as the message that goes on the wire; nil: the event's own body does
	header  http.Header // as sent
}

// prepare opens, and signs or renders, what an attempt at now sends. It always gives as much as is known, for the
// record of a failure. A panic on the way is an error like any other.
func (d *Delivery) prepare(due domain.Due, e *domain.Endpoint, mark string, now time.Time) (p *prepared, err error) {
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
		return p, d.anew(e, err)
	}
	p.url = p.target.url
	if p.to, err = destinationOf(e.Config.Kind); err != nil {
		return p, err
	}
	err = p.to.prepare(order{ctx: ctx, delivery: d, due: due, endpoint: e, event: event, mark: mark, now: now}, p)
	return p, d.anew(e, err)
}

// anew lets the attempt begin again where a secret that it lacks is gone because the endpoint was changed meanwhile.
func (d *Delivery) anew(e *domain.Endpoint, err error) error {
	if !errors.Is(err, errGone) {
		return err
	}
	if now, ok := d.cfg.Endpoints.Endpoint(e.Tenant, e.ID); ok && now == e {
		return err
	}
	return fmt.Errorf("the endpoint was changed meanwhile: %w", ledger.ErrConflict)
}

// schemes are those of the destinations.
var schemes = []string{"http", "https", domain.SchemeSMTP}

// target opens the endpoint's URL; one configuration is opened once.
func (d *Delivery) target(ctx context.Context, e *domain.Endpoint) (*target, error) {
	key := domain.EndpointKey{Tenant: e.Tenant, Endpoint: e.ID}
	record := string(e.ConfigRecord[:])
	old, known := d.targets.Get(key)
	if known && old.config == e.ConfigRevision && old.record == record {
		return old, nil
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
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("the endpoint's url can't be read")
	}
	t := &target{config: e.ConfigRevision, record: record, url: u, host: e.Config.Host, content: content}
	if t.demands, err = d.demandsOf(ctx, &e.Config); err != nil {
		return nil, err
	}
	if ref := e.Config.Credential; ref != nil {
		value, err := d.secret(ctx, *ref, "the endpoint's credential")
		if err != nil {
			return nil, err
		}
		t.secret = domain.NewSecret(value)
	}
	d.targets.Add(key, t)
	if known && old.wire() != t.wire() {
		d.forget(key, old)
	}
	return t, nil
}

// forget lets go of a target that another one has taken the place of, or that is not kept any more.
func (d *Delivery) forget(_ domain.EndpointKey, t *target) {
	if w := t.wire(); w != nil {
		d.sender.drop(w)
	}
}

// wire is the target's own; nil: it has none.
func (t *target) wire() *ownWire {
	if t.demands == nil {
		return nil
	}
	return t.demands.wire
}
