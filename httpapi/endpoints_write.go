package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

type createEndpointInput struct {
	Body EndpointConfig
}

// config is the configuration that the ledger gets, without its sealed content and its key.
func (in *EndpointConfig) config(t target) domain.EndpointConfig {
	cfg := domain.EndpointConfig{Kind: t.kind, Scheme: t.scheme, Host: t.host, Description: in.Description,
		Metadata: in.Metadata, EventTypes: in.EventTypes, RetrySchedule: in.RetrySchedule, Timeout: in.Timeout,
		RateLimit: in.RateLimit, MaxInFlight: in.MaxInFlight, Ordered: in.Ordered, OnExhausted: in.OnExhausted,
		DisableAfter: in.DisableAfter}
	cfg.Channel = in.Channel
	if cfg.RetrySchedule == nil {
		cfg.RetrySchedule = domain.DefaultRetrySchedule()
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = domain.Duration(domain.DefaultTimeout)
	}
	cfg.SetDefaultLimits()
	return cfg
}

// sameConfig compares two configurations but for what is sealed and for the key.
func sameConfig(a, b *domain.EndpointConfig) bool {
	return a.Kind == b.Kind && a.Channel == b.Channel && a.Scheme == b.Scheme && a.Host == b.Host &&
		a.Description == b.Description &&
		maps.Equal(a.Metadata, b.Metadata) && slices.Equal(a.EventTypes, b.EventTypes) &&
		slices.Equal(a.RetrySchedule, b.RetrySchedule) && a.Timeout == b.Timeout && a.RateLimit == b.RateLimit &&
		a.MaxInFlight == b.MaxInFlight && (a.Credential == nil) == (b.Credential == nil) &&
		a.Ordered == b.Ordered && a.OnExhausted == b.OnExhausted &&
		sameDuration(a.DisableAfter, b.DisableAfter)
}

// seal seals an endpoint's content for the record that will carry it.
func (a *api) seal(ctx context.Context, tenant string, s domain.Stamp, stream domain.Stream, recordType string,
	content *domain.EndpointContent) (*domain.Sealed, error) {
	keyID, err := a.Vault.DataKey(ctx, vault.Scope{Tenant: tenant, Type: "endpoint", At: s.At})
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return a.Vault.Seal(ctx, keyID, vault.Place{Tenant: tenant, Stream: stream, Record: s.Base, Type: recordType}, plain)
}

func newEndpoint() *domain.Endpoint { return &domain.Endpoint{Revision: domain.NoStream} }

func (a *api) createEndpoint(ctx context.Context, c *caller,
	in *createEndpointInput) (*createdOutput[Endpoint], error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	t, err := a.parseDestination(&in.Body)
	if err != nil {
		return nil, err
	}
	release, err := a.creating.lock(ctx, c.tenant) // so that the limit holds: one at a time is counted, appended, folded
	if err != nil {
		return nil, err
	}
	defer release()
	var secret domain.Secret
	cfg, given := in.Body.config(t), &newSecrets{}
	if err := in.Body.put(&cfg, nil, given, a.Now()); err != nil {
		return nil, err
	}
	fingerprint, err := checkSecret(in.Body.Secret, in.Body.Scheme)
	if err != nil {
		return nil, err
	}
	id := a.newID(domain.PrefixEndpoint, c.tenant, "create-endpoint", c.idempotency)
	stream := domain.EndpointStream(c.tenant, id)
	before := false
	e, done, err := ledger.Execute(ctx, a.Store, stream, newEndpoint,
		func(e *domain.Endpoint) ([]domain.Record, error) {
			if before = e.ID != "" && c.idempotency != ""; before {
				asked := cfg
				asked.Signing = domain.Signing{Scheme: in.Body.Scheme, Fingerprint: fingerprint}
				return nil, a.sameEndpoint(ctx, e, &asked, given, &t)
			}
			if _, err := e.Register(cfg); err != nil { // before a key is made for it
				return nil, err
			}
			if err := a.roomForEndpoint(c.tenant); err != nil {
				return nil, err
			}
			s := a.stamp(c)
			if cfg.Signing.KeyID == "" && cfg.Signs() {
				cfg.Signing, secret, err = a.newSigning(ctx, c.tenant, in.Body.Secret, in.Body.Scheme)
				if err != nil {
					return nil, err
				}
			}
			if err := a.keepSecrets(ctx, c.tenant, given); err != nil {
				return nil, err
			}
			if err := in.Body.put(&cfg, nil, given, s.At); err != nil {
				return nil, err
			}
			if cfg.Content, err = a.seal(ctx, c.tenant, s, stream, "EndpointRegistered", &t.content); err != nil {
				return nil, err
			}
			facts, err := e.Register(cfg)
			return s.Records(stream, c.tenant, "", ulid.ULID{}, facts...), err
		})
	if err != nil {
		a.discard(ctx, err, given.keys(cfg.Signing)...)
		return nil, err
	}
	if before && (cfg.Signing.KeyID == "" || cfg.Signing.KeyID != e.Config.Signing.KeyID) {
		// Another node was asked the same, and was first: what was kept here meanwhile is on no ledger.
		a.discard(ctx, nil, given.keys(cfg.Signing)...)
	}
	if err := a.configAt(ctx, done.Position); err != nil {
		return nil, err
	}
	shown, err := a.showEndpoint(ctx, c, e)
	if err != nil {
		return nil, err
	}
	if !before {
		shown.Secret = secret.Reveal()
		a.warn(id, t.doubts())
	}
	shown.Warnings = t.doubts()
	return answerCreated(c, before, "/v1/endpoints/"+id, etag(e.Revision), shown), nil
}

func (a *api) roomForEndpoint(tenant string) error {
	if r, ok := a.Directory.Routing(tenant); ok && len(r.Endpoints) >= r.Tenant.Settings.Endpoints() {
		return domain.Refuse(domain.KindConflict, "endpoint_limit",
			"the tenant has "+strconv.Itoa(len(r.Endpoints))+" endpoints, and can have no more",
			"delete one that is not needed any more, or use another tenant")
	}
	return nil
}

// sameEndpoint says whether a repeated request asks for the endpoint that the first one made: the configuration as it
// was registered is compared, whatever it was changed to since.
func (a *api) sameEndpoint(ctx context.Context, e *domain.Endpoint, want *domain.EndpointConfig, given *newSecrets,
	t *target) error {
	if !e.Exists() {
		return domain.Refuse(domain.KindConflict, "endpoint_removed",
			"the endpoint that this Idempotency-Key made was deleted since", "use a new key for a new endpoint")
	}
	first, err := a.firstRecord(ctx, domain.EndpointStream(e.Tenant, e.ID))
	if err != nil || first == nil {
		return errors.Join(errors.New("the endpoint's first record can't be read"), err)
	}
	f, ok := first.Fact.(*domain.EndpointRegistered)
	if !ok || !sameConfig(&f.Config, want) || !sameDemands(&f.Config, want) ||
		!askedFor(&want.Signing, &f.Config.Signing) {
		return errIdempotencyConflict
	}
	same, err := a.sameSecrets(ctx, &f.Config, given)
	if err != nil {
		return err
	}
	if !same {
		return errIdempotencyConflict
	}
	content, err := a.openEndpoint(ctx, &f.Config, vault.PlaceOf(first))
	switch {
	case errors.Is(err, vault.ErrErased): // nothing is left to compare with
		return nil
	case err != nil:
		return err
	case !t.is(&content):
		return errIdempotencyConflict
	}
	return nil
}

type updateEndpointInput struct {
	ID      string `path:"id" maxLength:"128" doc:"The endpoint's id." example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	IfMatch string `header:"If-Match" doc:"The revision that the change is based on."`
	RawBody []byte `contentType:"application/merge-patch+json"`
}

func (a *api) updateEndpoint(ctx context.Context, c *caller, in *updateEndpointInput) (*endpointOutput, error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	expected, err := parseIfMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	given := &newSecrets{}
	var doubts []string
	e, done, err := a.decideEndpoint(ctx, c, in.ID, func(e *domain.Endpoint, s domain.Stamp) ([]domain.Fact, error) {
		if !e.Exists() {
			return nil, errNoSuchEndpoint
		}
		if err := atRevision(expected, e.Revision, "endpoint"); err != nil {
			return nil, err
		}
		have, content, err := a.configOf(ctx, e)
		if err != nil {
			return nil, err
		}
		next, err := mergePatch(have, in.RawBody)
		if err != nil {
			return nil, err
		}
		if cmp.Or(next.Kind, domain.EndpointWebhook) != cmp.Or(have.Kind, domain.EndpointWebhook) {
			return nil, errKindStays
		}
		t, err := a.parseDestination(&next)
		if err != nil {
			return nil, err
		}
		cfg := next.config(t)
		if next.Secret != "" || next.Scheme != "" {
			return nil, errRotateInstead
		}
		if err := next.put(&cfg, &e.Config, given, s.At); err != nil {
			return nil, err
		}
		if doubts = nil; !t.is(&content) || t.host != e.Config.Host {
			doubts = t.doubts()
		}
		if sameConfig(&cfg, &e.Config) && t.is(&content) && sameDemands(&cfg, &e.Config) && len(given.given) == 0 {
			return nil, nil
		}
		cfg.Signing = e.Config.Signing
		if _, err := e.Reconfigure(cfg, expected); err != nil { // before anything is sealed
			return nil, err
		}
		if err := a.keepSecrets(ctx, c.tenant, given); err != nil {
			return nil, err
		}
		if err := next.put(&cfg, &e.Config, given, s.At); err != nil {
			return nil, err
		}
		stream := domain.EndpointStream(c.tenant, e.ID)
		if cfg.Content, err = a.seal(ctx, c.tenant, s, stream, "EndpointReconfigured", &t.content); err != nil {
			return nil, err
		}
		return e.Reconfigure(cfg, expected)
	})
	if err != nil {
		a.discard(ctx, err, given.keys(domain.Signing{})...)
		return nil, err
	}
	if err := a.configAt(ctx, done.Position); err != nil {
		return nil, err
	}
	out, err := a.answerEndpoint(ctx, c, e)
	if err != nil {
		return nil, err
	}
	a.warn(e.ID, doubts)
	out.Body.Warnings = doubts
	return out, nil
}

var errKindStays = domain.Refuse(domain.KindInvalid, "invalid_kind", "an endpoint's kind can't be changed",
	"create another endpoint, and delete this one")

// configOf is an endpoint's configuration as it can be set, whole, and its content.
func (a *api) configOf(ctx context.Context, e *domain.Endpoint) (EndpointConfig, domain.EndpointContent, error) {
	c := &e.Config
	out := EndpointConfig{EventTypes: c.EventTypes, Description: c.Description, Metadata: c.Metadata,
		RetrySchedule: c.RetrySchedule, Timeout: c.Timeout, RateLimit: c.RateLimit, MaxInFlight: c.MaxInFlight,
		Ordered: c.Ordered, OnExhausted: c.OnExhausted, DisableAfter: c.DisableAfter}
	out.Channel = c.Channel
	out.ReceiverDemands = demandsOf(c)
	content, err := a.openEndpoint(ctx, c, vault.Place{Tenant: e.Tenant, Stream: domain.EndpointStream(e.Tenant, e.ID),
		Record: e.ConfigRecord, Type: e.ConfigType})
	if errors.Is(err, vault.ErrErased) {
		out.Kind = c.Kind
		return out, content, nil // the patch must bring a url
	}
	out.Destination, out.URL = destinationOf(c, &content)
	return out, content, err
}

// changeEndpoint decides on an endpoint, waits until the decision holds, and shows the result.
func (a *api) changeEndpoint(ctx context.Context, c *caller, id string,
	decide func(*domain.Endpoint, domain.Stamp) ([]domain.Fact, error)) (*endpointOutput, error) {
	e, done, err := a.decideEndpoint(ctx, c, id, decide)
	if err != nil {
		return nil, err
	}
	if err := a.configAt(ctx, done.Position); err != nil {
		return nil, err
	}
	return a.answerEndpoint(ctx, c, e)
}

// decideEndpoint decides on an endpoint, and appends what is decided.
func (a *api) decideEndpoint(ctx context.Context, c *caller, id string,
	decide func(*domain.Endpoint, domain.Stamp) ([]domain.Fact, error)) (*domain.Endpoint, ledger.Appended, error) {
	if !domain.ValidEventID(id) { // it names a stream
		return nil, ledger.Appended{}, errNoSuchEndpoint
	}
	e, made, done, err := decideOnce(ctx, a, c, id, domain.EndpointStream(c.tenant, id), newEndpoint, decide)
	if err == nil && made != nil && !e.Exists() {
		err = errNoSuchEndpoint
	}
	return e, done, err
}

type deleteEndpointInput struct {
	ID      string `path:"id" maxLength:"128" doc:"The endpoint's id." example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	IfMatch string `header:"If-Match" doc:"The revision that is to be deleted; another one is left, and answered 412."`
}

func (a *api) deleteEndpoint(ctx context.Context, c *caller, in *deleteEndpointInput) (*struct{}, error) {
	expected, err := parseIfMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	_, done, err := a.decideEndpoint(ctx, c, in.ID, func(e *domain.Endpoint, _ domain.Stamp) ([]domain.Fact, error) {
		facts, err := e.Remove()
		if err == nil {
			err = atRevision(expected, e.Revision, "endpoint")
		}
		return facts, err
	})
	if err != nil {
		return nil, err
	}
	return nil, a.ended(ctx, done.Position)
}

// ended waits until nothing shows any more what was removed at the position, its deliveries included. Where the rows
// take too long the answer is given nevertheless: it is removed.
func (a *api) ended(ctx context.Context, since domain.Position) error {
	if err := a.configAt(ctx, since); err != nil {
		return err
	}
	if err := a.rowsAt(ctx, since); err != nil && !errors.Is(err, errBehind) {
		return err
	}
	return nil
}

func (a *api) enableEndpoint(ctx context.Context, c *caller, in *endpointPath) (*endpointOutput, error) {
	return a.changeEndpoint(ctx, c, in.ID, func(e *domain.Endpoint, _ domain.Stamp) ([]domain.Fact, error) {
		return e.Enable()
	})
}

func (a *api) disableEndpoint(ctx context.Context, c *caller, in *endpointPath) (*endpointOutput, error) {
	return a.changeEndpoint(ctx, c, in.ID, func(e *domain.Endpoint, _ domain.Stamp) ([]domain.Fact, error) {
		return e.Disable("manual")
	})
}
