package httpapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/vault"
)

// ReceiverDemands is what an endpoint's receiver asks of its sender beside the signature. What is secret of it goes
// into the vault, and is never shown again.
type ReceiverDemands struct {
	Headers    map[string]string   `json:"headers,omitempty" maxProperties:"20"`
	Auth       *EndpointAuth       `json:"auth,omitempty" doc:"How requests authenticate themselves; null takes it away."`
	ClientCert *EndpointClientCert `json:"client_cert,omitempty" doc:"Shown to a receiver that asks; null takes it away."`
	Legacy     *LegacySignature    `json:"legacy_signature,omitempty" doc:"A second signature; null takes it away."`
}

// EndpointAuth makes the header Authorization: basic of a username and a password, bearer of a token.
type EndpointAuth struct {
	Type     string `json:"type" enum:"basic,bearer"`
	Username string `json:"username,omitempty" maxLength:"1024"`
	Password string `json:"password,omitempty" maxLength:"2048"`
	Token    string `json:"token,omitempty" maxLength:"4096"`
}

// EndpointClientCert is a client certificate for mTLS.
type EndpointClientCert struct {
	Chain string `json:"chain,omitempty" maxLength:"14000" doc:"PEM, the leaf first."`
	Key   string `json:"key,omitempty" maxLength:"8000" doc:"The leaf's key, PEM, unencrypted."`
}

// LegacySignature is the hex HMAC-SHA256 of the body alone in a header of its own.
type LegacySignature struct {
	Header string `json:"header" maxLength:"64" example:"X-Hub-Signature-256"`
	Prefix string `json:"prefix,omitempty" maxLength:"32" doc:"Before the hex digits." example:"sha256="`
	Secret string `json:"secret,omitempty" maxLength:"4096" doc:"The key, as it stands."`
}

// ShownDemands is ReceiverDemands as shown.
type ShownDemands struct {
	Headers    map[string]string     `json:"headers,omitempty" doc:"By name; what stands for a value is its reference."`
	Auth       *ShownAuth            `json:"auth,omitempty"`
	ClientCert *ShownClientCert      `json:"client_cert,omitempty"`
	Legacy     *ShownLegacySignature `json:"legacy_signature,omitempty"`
}

// ShownAuth is an EndpointAuth without its secrets.
type ShownAuth struct {
	Type string `json:"type" enum:"basic,bearer"`
}

// ShownClientCert is a client certificate without its key.
type ShownClientCert struct {
	Subject     string    `json:"subject" example:"CN=hookledger"`
	Fingerprint string    `json:"fingerprint" doc:"SHA-256 of the leaf, hex."`
	NotAfter    time.Time `json:"not_after" doc:"From then on receivers refuse it."`
	Expired     bool      `json:"expired,omitempty"`
}

// ShownLegacySignature is a LegacySignature without its secret.
type ShownLegacySignature struct {
	Header string `json:"header"`
	Prefix string `json:"prefix,omitempty"`
}

func (a *api) showDemands(c *domain.EndpointConfig) ShownDemands {
	var out ShownDemands
	for _, h := range c.Headers {
		if out.Headers == nil {
			out.Headers = map[string]string{}
		}
		out.Headers[h.Name] = h.Value.String()
	}
	if c.Auth != nil {
		out.Auth = &ShownAuth{c.Auth.Type}
	}
	if cert := c.ClientCert; cert != nil {
		out.ClientCert = &ShownClientCert{cert.Subject, cert.Fingerprint, cert.NotAfter, !cert.NotAfter.After(a.Now())}
	}
	if c.Legacy != nil {
		out.Legacy = &ShownLegacySignature{c.Legacy.Header, c.Legacy.Prefix}
	}
	return out
}

// demandsOf is a configuration's part as it can be set: what is secret stays empty, which keeps it.
func demandsOf(c *domain.EndpointConfig) ReceiverDemands {
	var out ReceiverDemands
	for _, h := range c.Headers {
		if out.Headers == nil {
			out.Headers = map[string]string{}
		}
		out.Headers[h.Name] = h.Value.String()
	}
	if c.Auth != nil {
		out.Auth = &EndpointAuth{Type: c.Auth.Type}
	}
	if c.ClientCert != nil {
		out.ClientCert = &EndpointClientCert{}
	}
	if c.Legacy != nil {
		out.Legacy = &LegacySignature{Header: c.Legacy.Header, Prefix: c.Legacy.Prefix}
	}
	return out
}

// put writes the demands into the configuration, next to what the endpoint has; nil: it is new. Values that were not
// kept yet have no reference then.
func (in *ReceiverDemands) put(cfg, have *domain.EndpointConfig, n *newSecrets, now time.Time) error {
	if have == nil {
		have = &domain.EndpointConfig{}
	}
	if err := in.putHeaders(cfg, have, n); err != nil {
		return err
	}
	if err := in.putAuth(cfg, have, n); err != nil {
		return err
	}
	if err := in.putClientCert(cfg, have, n, now); err != nil {
		return err
	}
	if l := in.Legacy; l != nil {
		cfg.Legacy = &domain.LegacySigning{Header: l.Header, Prefix: l.Prefix}
		switch {
		case l.Secret != "":
			cfg.Legacy.Secret = n.ref("legacy", l.Secret)
		case have.Legacy != nil:
			cfg.Legacy.Secret = have.Legacy.Secret
		default:
			return domain.Refuse(domain.KindInvalid, "invalid_signing_secret", "the legacy signature has no secret",
				"give legacy_signature.secret, which the receiver has, too")
		}
	}
	return nil
}

func (in *ReceiverDemands) putHeaders(cfg, have *domain.EndpointConfig, n *newSecrets) error {
	cfg.Headers = nil
	for _, name := range slices.Sorted(maps.Keys(in.Headers)) {
		value := in.Headers[name]
		i := slices.IndexFunc(have.Headers, func(h domain.SecretHeader) bool { return h.Name == name })
		if i >= 0 && value == have.Headers[i].Value.String() {
			cfg.Headers = append(cfg.Headers, have.Headers[i])
			continue
		}
		if err := domain.CheckHeaderName(name); err != nil { // before the value's complaint names it
			return err
		}
		if err := domain.CheckHeaderValue(name, value); err != nil {
			return err
		}
		if strings.HasPrefix(value, "{vault:") {
			return domain.Refuse(domain.KindInvalid, "invalid_header", "the value of the header "+name+
				" is a reference to another secret", "give the value itself, or leave the header out to keep what it has")
		}
		cfg.Headers = append(cfg.Headers, domain.SecretHeader{Name: name, Value: n.ref("header "+name, value)})
	}
	return nil
}

func (in *ReceiverDemands) putAuth(cfg, have *domain.EndpointConfig, n *newSecrets) error {
	auth := in.Auth
	if auth == nil {
		return nil
	}
	refuse := func(detail, fix string) error { return domain.Refuse(domain.KindInvalid, "invalid_auth", detail, fix) }
	var value string
	switch {
	case auth.Username == "" && auth.Password == "" && auth.Token == "":
		if have.Auth == nil || have.Auth.Type != auth.Type {
			return refuse("the authentication has no credentials", "give username and password for basic, token for bearer")
		}
		cfg.Auth = have.Auth
		return nil
	case auth.Type == domain.AuthBasic && auth.Token == "" && auth.Username != "" && auth.Password != "":
		if strings.Contains(auth.Username, ":") {
			return refuse("the username has a colon in it, where basic authentication ends it", "use another one")
		}
		value = "Basic " + base64.StdEncoding.EncodeToString([]byte(auth.Username+":"+auth.Password))
	case auth.Type == domain.AuthBearer && auth.Token != "" && auth.Username == "" && auth.Password == "":
		value = "Bearer " + auth.Token
	default:
		return refuse("the credentials are not those of "+auth.Type,
			"give username and password for basic, token for bearer, and nothing else")
	}
	if err := domain.CheckHeaderValue(domain.HeaderAuthorization, value); err != nil {
		return err
	}
	cfg.Auth = &domain.ReceiverAuth{Type: auth.Type, Value: n.ref("auth", value)}
	return nil
}

func (in *ReceiverDemands) putClientCert(cfg, have *domain.EndpointConfig, n *newSecrets, now time.Time) error {
	given := in.ClientCert
	if given == nil {
		return nil
	}
	if given.Chain == "" && given.Key == "" && have.ClientCert != nil {
		cfg.ClientCert = have.ClientCert
		return nil
	}
	pem := given.Chain + "\n" + given.Key
	pair, err := delivery.ParseClientCert([]byte(pem))
	if err != nil {
		return err
	}
	if !pair.Shown.NotAfter.After(now) {
		return domain.Refuse(domain.KindInvalid, "invalid_client_cert", "the client certificate expired at "+
			pair.Shown.NotAfter.Format(time.RFC3339), "give one that is valid")
	}
	if len(pem) > vault.MaxSecret {
		return domain.Refuse(domain.KindTooLarge, "invalid_client_cert", "the client certificate is over 16 KiB with its key",
			"leave out the root and what does not lead to it")
	}
	cfg.ClientCert = &pair.Shown
	cfg.ClientCert.Pair = n.ref("client_cert", pem)
	return nil
}

// sameDemands compares what two configurations demand, but for the secret values.
func sameDemands(a, b *domain.EndpointConfig) bool {
	names := func(c *domain.EndpointConfig) []string {
		var out []string
		for _, h := range c.Headers {
			out = append(out, h.Name)
		}
		return out
	}
	if !slices.Equal(names(a), names(b)) || (a.Auth == nil) != (b.Auth == nil) ||
		(a.ClientCert == nil) != (b.ClientCert == nil) || (a.Legacy == nil) != (b.Legacy == nil) {
		return false
	}
	return (a.Auth == nil || a.Auth.Type == b.Auth.Type) &&
		(a.ClientCert == nil || a.ClientCert.Fingerprint == b.ClientCert.Fingerprint) &&
		(a.Legacy == nil || a.Legacy.Header == b.Legacy.Header && a.Legacy.Prefix == b.Legacy.Prefix)
}

// sameSecrets says whether the values that a repeated request gives are those that the first one gave. One that was
// destroyed since can't be compared any more.
func (a *api) sameSecrets(ctx context.Context, first *domain.EndpointConfig, n *newSecrets) (bool, error) {
	had := map[string]domain.VaultRef{}
	for _, h := range first.Headers {
		had["header "+h.Name] = h.Value
	}
	if first.Auth != nil {
		had["auth"] = first.Auth.Value
	}
	if first.Legacy != nil {
		had["legacy"] = first.Legacy.Secret
	}
	if first.Credential != nil {
		had["credential"] = *first.Credential
	}
	for what, ref := range had { // a certificate's fingerprint was compared
		value, err := a.Vault.Secret(ctx, ref.KeyID)
		if errors.Is(err, vault.ErrErased) {
			continue
		}
		if err != nil || value.Reveal() != n.given[what].Reveal() {
			return false, err
		}
	}
	return true, nil
}

// newSigning makes the signing key that is asked for: the given one, or a new one of the scheme. The secret is what its
// owner has to be shown once; a given one is known to them, and a private key nobody needs.
func (a *api) newSigning(ctx context.Context, tenant, given, scheme string) (domain.Signing, domain.Secret, error) {
	switch {
	case given != "":
		s, err := a.Vault.PutSigningSecret(ctx, tenant, domain.NewSecret(given))
		return s, domain.Secret{}, err
	case scheme == domain.SchemeV1a:
		s, err := a.Vault.NewSigningPair(ctx, tenant)
		return s, domain.Secret{}, err
	}
	return a.Vault.NewSigningSecret(ctx, tenant)
}

// checkSecret refuses a given secret that is none, or none of the scheme, before anything is kept; it gives the
// fingerprint that it will have, empty for one that is to be made.
func checkSecret(given, scheme string) (fingerprint string, err error) {
	if given == "" {
		return "", nil
	}
	key, err := domain.ParseSigningKey(domain.NewSecret(given))
	if err != nil {
		return "", err
	}
	if cmp.Or(scheme, key.Scheme) != key.Scheme {
		return "", domain.Refuse(domain.KindInvalid, "invalid_signing_secret", "the secret is not one of the scheme "+scheme,
			"leave scheme out: whsec_ is of v1, whsk_ of v1a")
	}
	return key.Secret().Fingerprint(), nil
}
