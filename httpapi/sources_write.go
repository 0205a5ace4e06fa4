package httpapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"strconv"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/sources/agenfleet"
)

// TokenPrefix begins the token of every cron source, so that a leaked one can be recognised.
const TokenPrefix = "hlc_"

type createSourceInput struct {
	Body SourceConfig
}

// sourceDraft is a configuration as the ledger gets it, and what of it does not go there.
type sourceDraft struct {
	config      domain.SourceConfig
	credentials agenfleet.Credentials
}

// draft checks what the domain can't, and fills in the defaults.
func (a *api) draft(in *SourceConfig) (*sourceDraft, error) {
	d := &sourceDraft{config: domain.SourceConfig{Kind: in.Kind, Description: in.Description, TimeZone: in.TZ,
		Fields: in.Fields, Statuses: in.Statuses}}
	if d.config.TimeZone == "" {
		d.config.TimeZone = "UTC"
	}
	if _, err := agenfleet.Location(d.config.TimeZone); err != nil {
		return nil, err
	}
	if p := in.AgenFleet; p != nil {
		if err := a.checkSourceURL(p.URL); err != nil {
			return nil, err
		}
		d.credentials = agenfleet.Credentials{Email: p.Email, Password: p.Password, Key: p.APIKey}
		d.config.Poll = p.config()
	}
	if p := in.Cron; p != nil || in.Kind == domain.SourceCron {
		d.config.Cron = &domain.CronConfig{Window: domain.Duration(domain.DefaultCronWindow)}
		if p != nil {
			d.config.Cron.Job = p.Job
			if p.Window != 0 {
				d.config.Cron.Window = p.Window
			}
		}
	}
	return d, nil
}

func (p *AgenFleetConfig) config() *domain.PollConfig {
	out := &domain.PollConfig{URL: p.URL, Auth: p.Auth, Every: p.Every, CostsEvery: p.CostsEvery, RateLimit: p.RateLimit,
		Currency: p.Currency, CostPeriod: p.CostPeriod}
	if out.Auth == "" {
		out.Auth = domain.AuthLogin
		if p.APIKey != "" {
			out.Auth = domain.AuthKey
		}
	}
	if out.Every == 0 {
		out.Every = domain.Duration(domain.DefaultPollEvery)
	}
	if out.RateLimit == 0 {
		out.RateLimit = domain.DefaultRateLimit
	}
	if out.CostPeriod == "" && out.CostsEvery != 0 {
		out.CostPeriod = "monthly"
	}
	if p.AlertThreshold != 0 {
		out.AlertThreshold = strconv.FormatFloat(p.AlertThreshold, 'f', -1, 64)
	}
	return out
}

// complete says whether the credentials are what the way to authenticate needs.
func (d *sourceDraft) complete() bool {
	if d.config.Poll.Auth == domain.AuthKey {
		return d.credentials.Key != ""
	}
	return d.credentials.Email != "" && d.credentials.Password != ""
}

// kept is the id of the credentials that are in the vault; empty: none are.
func (d *sourceDraft) kept() string {
	if d.config.Poll == nil {
		return ""
	}
	return d.config.Poll.Credentials.KeyID
}

var errCredentials = domain.Refuse(domain.KindInvalid, "invalid_source", "the source's credentials are not complete",
	"give email and password for a login, or api_key")

func (a *api) createSource(ctx context.Context, c *caller, in *createSourceInput) (*createdOutput[Source], error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	d, err := a.draft(&in.Body)
	if err != nil {
		return nil, err
	}
	release, err := a.creating.lock(ctx, c.tenant) // so that the limit holds
	if err != nil {
		return nil, err
	}
	defer release()
	id := a.newID(domain.PrefixSource, c.tenant, "create-source", c.idempotency)
	stream := domain.SourceStream(c.tenant, id)
	token, before := "", false
	s, done, err := ledger.Execute(ctx, a.Store, stream, func() *domain.Source { return &domain.Source{} },
		func(s *domain.Source) ([]domain.Record, error) {
			if before = s.ID != "" && c.idempotency != ""; before {
				return nil, a.sameSource(ctx, s, &d.config)
			}
			if len(a.Directory.Sources(c.tenant)) >= domain.MaxSources {
				return nil, domain.Refuse(domain.KindConflict, "source_limit", "the tenant has 1000 sources, which is the most",
					"remove one that is not needed any more")
			}
			if err := a.admit(ctx, c, d, &token); err != nil {
				return nil, err
			}
			facts, err := s.Add(d.config)
			return a.stamp(c).Records(stream, c.tenant, "", ulid.ULID{}, facts...), err
		})
	if err != nil {
		a.discard(ctx, err, d.kept())
		return nil, err
	}
	if before && (s.Config.Poll == nil || d.kept() != s.Config.Poll.Credentials.KeyID) {
		a.discard(ctx, nil, d.kept()) // another node was asked the same, and was first
	}
	if err := a.configAt(ctx, done.Position); err != nil {
		return nil, err
	}
	shown := a.showSource(s)
	if token != "" && !before {
		shown.Path = "/in/cron/" + token
	}
	return answerCreated(c, before, "/v1/sources/"+id, etag(s.Revision), shown), nil
}

// admit makes what lets us in, or others: the credentials go into the vault, a token is drawn. It does so once.
func (a *api) admit(ctx context.Context, c *caller, d *sourceDraft, token *string) error {
	if p := d.config.Cron; p != nil && *token == "" {
		*token = drawToken(p)
	}
	p := d.config.Poll
	if p == nil || p.Credentials.KeyID != "" {
		return nil
	}
	if !d.complete() {
		return errCredentials
	}
	probe := d.config // what is wrong with the rest is said before anything is kept
	with := *p
	with.Credentials.KeyID = "checked"
	probe.Poll = &with
	if _, err := new(domain.Source).Add(probe); err != nil {
		return err
	}
	var err error
	p.Credentials, err = a.Vault.PutSecret(ctx, c.tenant, d.credentials.Secret())
	return err
}

// drawToken gives a cron source a new token: the configuration says how it begins, and its digest.
func drawToken(to *domain.CronConfig) string {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // never fails
	token := TokenPrefix + base64.RawURLEncoding.EncodeToString(bits[:])
	sum := sha256.Sum256([]byte(token))
	to.TokenPrefix, to.TokenHash = token[:len(TokenPrefix)+6], sum[:]
	return token
}

// rotateSourceToken takes a cron source's token from whoever has it, and gives a new one.
func (a *api) rotateSourceToken(ctx context.Context, c *caller, in *sourcePath) (*sourceOutput, error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	token := ""
	s, done, err := a.decideSource(ctx, c, in.ID, func(s *domain.Source) ([]domain.Fact, error) {
		switch {
		case !s.Exists():
			return nil, errNoSuchSource
		case s.Config.Cron == nil:
			return nil, domain.Refuse(domain.KindInvalid, "no_token", "the source has no token: nobody posts to it",
				"change its credentials with: hookledger source update "+s.ID)
		}
		next, cron := s.Config, *s.Config.Cron
		next.Cron, token = &cron, drawToken(&cron)
		return s.Change(next, nil)
	})
	if err != nil {
		return nil, err
	}
	if err := a.configAt(ctx, done.Position); err != nil {
		return nil, err
	}
	out := a.answerSource(s)
	if hash := sha256.Sum256([]byte(token)); s.Config.Cron != nil && bytes.Equal(hash[:], s.Config.Cron.TokenHash) {
		out.Body.Path = "/in/cron/" + token
	} else {
		c.repeated() // the token that holds is another request's
	}
	return out, nil
}

// sameSource says whether a repeated request asks for the source that the first one made: the configuration as it was
// added is compared, whatever it was changed to since. Credentials and tokens are not: they are not shown again.
func (a *api) sameSource(ctx context.Context, s *domain.Source, want *domain.SourceConfig) error {
	if !s.Exists() {
		return domain.Refuse(domain.KindConflict, "source_removed",
			"the source that this Idempotency-Key made was removed since", "use a new key for a new source")
	}
	first, err := a.firstRecord(ctx, domain.SourceStream(s.Tenant, s.ID))
	if err != nil || first == nil {
		return errors.Join(errors.New("the source's first record can't be read"), err)
	}
	f, ok := first.Fact.(*domain.SourceAdded)
	if !ok || !sameSourceConfig(&f.Config, want) {
		return errIdempotencyConflict
	}
	return nil
}

// sameSourceConfig compares two configurations but for credentials and token.
func sameSourceConfig(a, b *domain.SourceConfig) bool {
	if a.Kind != b.Kind || a.Description != b.Description || a.TimeZone != b.TimeZone ||
		!maps.Equal(a.Fields, b.Fields) || !maps.Equal(a.Statuses, b.Statuses) ||
		(a.Poll == nil) != (b.Poll == nil) || (a.Cron == nil) != (b.Cron == nil) {
		return false
	}
	if a.Poll != nil {
		x, y := *a.Poll, *b.Poll
		x.Credentials, y.Credentials = domain.VaultRef{}, domain.VaultRef{}
		return x == y
	}
	return a.Cron == nil || a.Cron.Job == b.Cron.Job && a.Cron.Window == b.Cron.Window
}

type updateSourceInput struct {
	ID      string `path:"id" maxLength:"128" doc:"The source's id." example:"src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	IfMatch string `header:"If-Match" doc:"The revision that the change is based on."`
	RawBody []byte `contentType:"application/merge-patch+json"`
}

func (a *api) updateSource(ctx context.Context, c *caller, in *updateSourceInput) (*sourceOutput, error) {
	if err := a.Room(); err != nil {
		return nil, err
	}
	expected, err := parseIfMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	var made, old domain.VaultRef
	s, done, err := a.decideSource(ctx, c, in.ID, func(s *domain.Source) ([]domain.Fact, error) {
		if !s.Exists() {
			return nil, errNoSuchSource
		}
		next, err := mergePatch(sourceConfigOf(s), in.RawBody)
		if err != nil {
			return nil, err
		}
		d, err := a.draft(&next)
		if err != nil {
			return nil, err
		}
		if old, err = a.keep(ctx, c, s, d, &made); err != nil {
			return nil, err
		}
		if made.KeyID == "" && sameSourceConfig(&d.config, &s.Config) && expected == nil {
			return nil, nil
		}
		return s.Change(d.config, expected)
	})
	if err != nil {
		a.discard(ctx, err, made.KeyID)
		return nil, err
	}
	if made.KeyID == "" {
		old = domain.VaultRef{} // it goes on with them
	}
	if err := a.letGo(ctx, done.Position, old); err != nil {
		return nil, err
	}
	return a.answerSource(s), nil
}

// letGo destroys credentials that are not a source's any more since the position, once this node's pollers know that,
// or could; it does so though the client has gone: nobody would come for them again.
func (a *api) letGo(ctx context.Context, since domain.Position, old domain.VaultRef) error {
	return errors.Join(a.configAt(context.WithoutCancel(ctx), since), a.destroy(ctx, old.KeyID))
}

// keep carries over what a patch does not name: the token, and the credentials unless there are new ones, which are
// made once. old are those that the new ones take the place of.
func (a *api) keep(ctx context.Context, c *caller, s *domain.Source, d *sourceDraft,
	made *domain.VaultRef) (old domain.VaultRef, err error) {
	if d.config.Cron != nil && s.Config.Cron != nil {
		d.config.Cron.TokenPrefix, d.config.Cron.TokenHash = s.Config.Cron.TokenPrefix, s.Config.Cron.TokenHash
	}
	if d.config.Poll == nil || s.Config.Poll == nil {
		return old, nil
	}
	old = s.Config.Poll.Credentials
	d.config.Poll.Credentials = old
	switch {
	case d.credentials == (agenfleet.Credentials{}) && d.config.Poll.Auth == s.Config.Poll.Auth:
		return old, nil
	case !d.complete():
		return old, errCredentials
	case made.KeyID == "":
		if _, err := s.Change(d.config, nil); err != nil {
			return old, err
		}
		if *made, err = a.Vault.PutSecret(ctx, c.tenant, d.credentials.Secret()); err != nil {
			return old, err
		}
	}
	d.config.Poll.Credentials = *made
	return old, nil
}

// decideSource decides on a source, and appends what is decided.
func (a *api) decideSource(ctx context.Context, c *caller, id string,
	decide func(*domain.Source) ([]domain.Fact, error)) (*domain.Source, ledger.Appended, error) {
	if !domain.ValidEventID(id) { // it names a stream
		return nil, ledger.Appended{}, errNoSuchSource
	}
	s, made, done, err := decideOnce(ctx, a, c, id, domain.SourceStream(c.tenant, id),
		func() *domain.Source { return &domain.Source{} },
		func(s *domain.Source, _ domain.Stamp) ([]domain.Fact, error) { return decide(s) })
	if err == nil && made != nil && !s.Exists() {
		err = errNoSuchSource
	}
	return s, done, err
}

type deleteSourceInput struct {
	ID      string `path:"id" maxLength:"128" doc:"The source's id." example:"src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	IfMatch string `header:"If-Match" doc:"The revision that is to be removed; another one is left, and answered 412."`
}

func (a *api) deleteSource(ctx context.Context, c *caller, in *deleteSourceInput) (*struct{}, error) {
	expected, err := parseIfMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	var old domain.VaultRef
	_, done, err := a.decideSource(ctx, c, in.ID, func(s *domain.Source) ([]domain.Fact, error) {
		if s.Config.Poll != nil {
			old = s.Config.Poll.Credentials
		}
		facts, err := s.Remove()
		if err == nil {
			err = atRevision(expected, s.Revision, "source")
		}
		return facts, err
	})
	if err != nil {
		return nil, err
	}
	return nil, a.letGo(ctx, done.Position, old)
}
