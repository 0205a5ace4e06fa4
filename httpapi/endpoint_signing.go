package httpapi

import (
	"context"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// RotateSecret asks for a new signing key.
type RotateSecret struct {
	Overlap *domain.Duration `json:"overlap,omitempty" example:"24h"`
	Secret  string           `json:"secret,omitempty" maxLength:"128" doc:"Yours, whsec_… or whsk_…; absent: a new one."`
	Scheme  string           `json:"scheme,omitempty" enum:"v1,v1a" doc:"Of a new one; absent: the one it has."`
}

// SigningKey is a key that signs an endpoint's requests.
type SigningKey struct {
	KeyID       string    `json:"key_id" example:"sk_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Scheme      string    `json:"scheme" enum:"v1,v1a"`
	Status      string    `json:"status" enum:"current,previous"`
	Fingerprint string    `json:"fingerprint" doc:"First 16 hex digits of the SHA-256 of the secret."`
	PublicKey   string    `json:"public_key,omitempty" doc:"With v1a: what verifies." example:"whpk_1SiA4o9hyqTC…"`
	ValidUntil  time.Time `json:"valid_until,omitzero" required:"false" doc:"Of a previous one: then it ends."`
}

type rotateInput struct {
	ID   string        `path:"id" maxLength:"128" doc:"The endpoint's id." example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Body *RotateSecret `required:"false"`
}

var errRotateInstead = domain.Refuse(domain.KindInvalid, "secret_at_creation", "an endpoint's secret is not changed so",
	"rotate it: hookledger endpoint rotate-secret, or POST /v1/endpoints/{id}/rotate-secret")

func (a *api) registerSigning() {
	register(a, operation{id: "list-endpoint-keys", tag: "Endpoints", summary: "List an endpoint's signing keys",
		description: "The one in force, and those that sign beside it while it is new. The public keys verify signatures " +
			"of the scheme v1a, and may be given to anybody; a secret of v1 is shown once, when it is made."},
		a.listEndpointKeys)
	register(a, operation{id: "rotate-endpoint-secret", tag: "Endpoints", summary: "Rotate an endpoint's signing secret",
		description: "From the answer on each attempt that starts is signed with the new key, and for the overlap with the " +
			"replaced one, too; then that is destroyed. A new secret of v1 is shown in this one answer. At most two " +
			"replaced keys sign at once. overlap is 0s to 720h, absent: 24h; 0s ends all replaced ones at once."},
		a.rotateSecret)
}

func (a *api) listEndpointKeys(ctx context.Context, c *caller, in *endpointPath) (*listOutput[SigningKey], error) {
	e, err := lookAgain(ctx, a, a.configAt, func() (*domain.Endpoint, error) {
		if e, ok := a.Directory.Endpoint(c.tenant, in.ID); ok && e.Exists() {
			return e, nil
		}
		return nil, errNoSuchEndpoint
	})
	if err != nil {
		return nil, err
	}
	now, s := a.Now().UTC(), &e.Config.Signing
	keys := []SigningKey{}
	if e.Config.Signs() {
		keys = append(keys, SigningKey{KeyID: s.KeyID, Scheme: s.Scheme, Status: "current", Fingerprint: s.Fingerprint,
			PublicKey: s.PublicKey})
	}
	for _, p := range s.Previous {
		if p.ValidUntil.After(now) {
			keys = append(keys, SigningKey{KeyID: p.KeyID, Scheme: p.Scheme, Status: "previous", Fingerprint: p.Fingerprint,
				PublicKey: p.PublicKey, ValidUntil: p.ValidUntil})
		}
	}
	out := &listOutput[SigningKey]{}
	out.Body.Data, out.Body.AsOfPosition, out.Body.AsOf = keys, a.Store.Head(), &now
	return out, nil
}

func (a *api) rotateSecret(ctx context.Context, c *caller, in *rotateInput) (*endpointOutput, error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	ask := RotateSecret{}
	if in.Body != nil {
		ask = *in.Body
	}
	overlap := domain.DefaultOverlap
	if ask.Overlap != nil {
		overlap = time.Duration(*ask.Overlap)
	}
	if !domain.ValidEventID(in.ID) { // it names a stream
		return nil, errNoSuchEndpoint
	}
	fingerprint, err := checkSecret(ask.Secret, ask.Scheme)
	if err != nil {
		return nil, err
	}
	want := domain.Signing{Scheme: ask.Scheme, Fingerprint: fingerprint}
	parts := []string{"rotate-secret", c.tenant, in.ID, c.idempotency}
	stream := domain.EndpointStream(c.tenant, in.ID)
	var next domain.Signing
	var secret domain.Secret
	o, done, err := ledger.Execute(ctx, a.Store, stream,
		func() *origin[*domain.Endpoint] { return withOrigin(newEndpoint(), parts...) },
		func(o *origin[*domain.Endpoint]) ([]domain.Record, error) {
			if o.made != nil {
				return nil, sameRotation(o.made, &want, overlap)
			}
			s := a.stamp(c)
			if err := o.state.CanRotate(overlap, s.At); err != nil {
				return nil, err
			}
			if next.KeyID == "" {
				scheme := ask.Scheme
				if scheme == "" {
					scheme = o.state.Config.Signing.Scheme
				}
				var err error
				if next, secret, err = a.newSigning(ctx, c.tenant, ask.Secret, scheme); err != nil {
					return nil, err
				}
			}
			facts, err := o.state.Rotate(next, overlap, s.At)
			s.Base = a.base(s, parts...)
			return s.Records(stream, c.tenant, "", ulid.ULID{}, facts...), err
		})
	if err != nil {
		a.discard(ctx, err, next.KeyID)
		return nil, err
	}
	if done.Duplicate && c.idempotency != "" { // of this append, or of another request's under the same key by then
		o, _, err = ledger.Load(ctx, a.Store, stream,
			func() *origin[*domain.Endpoint] { return withOrigin(newEndpoint(), parts...) })
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ledger.ErrUnknownOutcome, err)
		}
	}
	if next.KeyID != "" && rotatedTo(o.made, next.KeyID) != next.KeyID {
		// Another request under the same Idempotency-Key was first: our key is on no ledger, and no secret to show.
		a.discard(ctx, nil, next.KeyID)
		next = domain.Signing{}
	}
	if err := a.configAt(ctx, done.Position); err != nil {
		return nil, err
	}
	shown, err := a.showEndpoint(ctx, c, o.state)
	out := &endpointOutput{ETag: etag(o.state.Revision), Body: shown}
	if o.made != nil && next.KeyID == "" {
		c.repeated()
	} else {
		out.Body.Secret = secret.Reveal()
	}
	return out, err
}

// rotatedTo is the key that a rotation made; without one that names its request it is the asker's own.
func rotatedTo(made *domain.Record, own string) string {
	if made == nil {
		return own
	}
	if f, ok := made.Fact.(*domain.EndpointSecretRotated); ok {
		return f.Signing.KeyID
	}
	return own
}

// sameRotation says whether a repeated request asks for what the first one did.
func sameRotation(made *domain.Record, want *domain.Signing, overlap time.Duration) error {
	f, ok := made.Fact.(*domain.EndpointSecretRotated)
	if !ok || !askedFor(want, &f.Signing) || len(f.Signing.Previous) == 0 ||
		f.Signing.Previous[0].ValidUntil.Sub(made.RecordedAt) != overlap {
		return errIdempotencyConflict
	}
	return nil
}

// askedFor says whether a signing key is what was asked for, as far as that was named.
func askedFor(want, got *domain.Signing) bool {
	return (want.Scheme == "" || want.Scheme == got.Scheme) &&
		(want.Fingerprint == "" || want.Fingerprint == got.Fingerprint)
}
