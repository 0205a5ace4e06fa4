package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hookledger/domain"
	"hookledger/vault"
)

// sign signs the body with the endpoint's key, and with those that it replaced and that are still valid, in this order.
func (d *Delivery) sign(ctx context.Context, p *prepared, s *domain.Signing, event string, now time.Time) error {
	key, err := d.cfg.Vault.SigningKey(ctx, s.KeyID)
	if err != nil {
		return signingError(err)
	}
	ts := now.Unix()
	p.signed = domain.RequestSigned{Scheme: domain.SchemeV1, KeyIDs: []string{s.KeyID}, WebhookID: event,
		WebhookTimestamp: ts}
	if len(s.Previous) == 0 && s.Scheme != domain.SchemeV1a { // nearly all
		p.signed.Signatures = domain.Sign([][]byte{key}, event, ts, p.body)
		return nil
	}
	if s.Scheme != "" {
		p.signed.Scheme = s.Scheme
	}
	keys := []domain.Key{{Scheme: p.signed.Scheme, Bytes: key}}
	for _, old := range s.Previous {
		if !old.ValidUntil.After(now) {
			continue
		}
		key, err := d.cfg.Vault.SigningKey(ctx, old.KeyID)
		if errors.Is(err, vault.ErrErased) {
			continue // its time ended since now was read
		}
		if err != nil {
			return signingError(err)
		}
		keys = append(keys, domain.Key{Scheme: old.Scheme, Bytes: key})
		p.signed.KeyIDs = append(p.signed.KeyIDs, old.KeyID)
	}
	p.signed.Signatures = domain.SignEach(keys, event, ts, p.body)
	return nil
}

// signingError keeps "erased" to mean the event: an endpoint whose signing key is gone is a fault, and recorded as one.
// One that is gone because it was rotated meanwhile lets the attempt begin anew.
func signingError(err error) error {
	if errors.Is(err, vault.ErrErased) {
		return fmt.Errorf("the endpoint's signing key: %w", errGone)
	}
	return fmt.Errorf("the endpoint's signing key: %v", err) //nolint:errorlint // so
}

// demands are what a receiver asks of its sender beside the signature; they are opened with their target, and never
// change. Most endpoints have none.
type demands struct {
	headers []domain.Header // as recorded: what stands for a value is its reference
	values  []string        // as sent, in the order of headers
	redact  *redactor       // of the values, should the receiver repeat them
	legacy  *domain.LegacySigning
	secret  []byte // of legacy
	wire    *ownWire
}

// errGone is that a secret of the endpoint is not in the vault any more.
var errGone = errors.New("it is not in the vault any more")

// demandsOf opens what a configuration asks for; nil: nothing.
func (d *Delivery) demandsOf(ctx context.Context, c *domain.EndpointConfig) (*demands, error) {
	if len(c.Headers) == 0 && c.Auth == nil && c.Legacy == nil && c.ClientCert == nil {
		return nil, nil
	}
	out := &demands{legacy: c.Legacy}
	var secrets []domain.Secret
	add := func(name string, ref domain.VaultRef) error {
		value, err := d.secret(ctx, ref, "the value of the header "+name)
		out.headers = append(out.headers, domain.Header{Name: name, Value: ref.String()})
		out.values = append(out.values, value)
		secrets = append(secrets, hidden(name, value)...)
		return err
	}
	for _, h := range c.Headers {
		if err := add(h.Name, h.Value); err != nil {
			return nil, err
		}
	}
	if c.Auth != nil {
		if err := add(domain.HeaderAuthorization, c.Auth.Value); err != nil {
			return nil, err
		}
	}
	if c.Legacy != nil {
		secret, err := d.secret(ctx, c.Legacy.Secret, "the secret of the legacy signature")
		if err != nil {
			return nil, err
		}
		out.secret = []byte(secret)
	}
	if c.ClientCert != nil {
		pem, err := d.secret(ctx, c.ClientCert.Pair, "the client certificate")
		if err != nil {
			return nil, err
		}
		pair, err := ParseClientCert([]byte(pem))
		if err != nil {
			return nil, err
		}
		out.wire = d.sender.ownWire(c.ClientCert.Pair.KeyID, &pair.Certificate)
	}
	out.redact = newRedactor(secrets...)
	return out, nil
}

func (d *Delivery) secret(ctx context.Context, ref domain.VaultRef, what string) (string, error) {
	s, err := d.cfg.Vault.Secret(ctx, ref.KeyID)
	if errors.Is(err, vault.ErrErased) {
		return "", fmt.Errorf("%s (%s): %w", what, ref.KeyID, errGone)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return s.Reveal(), nil
}

// apply adds what is demanded to a request that is otherwise prepared.
func (x *demands) apply(p *prepared) {
	p.headers = append(p.headers, x.headers...)
	if x.legacy != nil {
		p.headers = append(p.headers, domain.Header{Name: x.legacy.Header,
			Value: x.legacy.Prefix + domain.LegacySignature(x.secret, p.body)})
		p.signed.KeyIDs = append(p.signed.KeyIDs, x.legacy.Secret.KeyID)
	}
}
