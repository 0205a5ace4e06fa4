package domain_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

func polled(change func(*domain.SourceConfig)) domain.SourceConfig {
	c := domain.SourceConfig{Kind: domain.SourceAgenFleet, TimeZone: "UTC", Poll: &domain.PollConfig{
		URL: "https://api.agenfleet.ai/api", Auth: domain.AuthLogin, Credentials: domain.VaultRef{KeyID: "cr_1"},
		Every: domain.Duration(domain.DefaultPollEvery), RateLimit: domain.DefaultRateLimit}}
	if change != nil {
		change(&c)
	}
	return c
}

func cronSource(change func(*domain.SourceConfig)) domain.SourceConfig {
	c := domain.SourceConfig{Kind: domain.SourceCron, TimeZone: "UTC", Cron: &domain.CronConfig{
		TokenHash: bytes.Repeat([]byte{1}, 32), Window: domain.Duration(domain.DefaultCronWindow)}}
	if change != nil {
		change(&c)
	}
	return c
}

// source folds what each step decides.
type source struct {
	domain.Source
	t *testing.T
	n domain.Revision
}

func (s *source) then(facts []domain.Fact, err error) *source {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range facts {
		s.Evolve(&domain.Record{ID: ulid.ULID{byte(s.n + 1)}, Stream: "source-t.src_1", Tenant: "t", Revision: s.n,
			RecordedAt: start.Add(time.Duration(s.n) * time.Minute), Fact: f})
		s.n++
	}
	return s
}

func TestSource_IsAddedChangedAndRemoved(t *testing.T) {
	t.Parallel()
	s := &source{t: t}
	s.then(s.Add(polled(nil)))
	if !s.Exists() || s.ID != "src_1" || s.Tenant != "t" || s.ConfigRecord != (ulid.ULID{1}) {
		t.Fatalf("%+v", s.Source)
	}
	facts, err := s.Add(polled(nil))
	refused(t, "source_exists", domain.KindConflict, facts, err)
	stale := domain.Revision(7)
	facts, err = s.Change(polled(nil), &stale)
	refused(t, "revision_conflict", domain.KindConflict, facts, err)
	facts, err = s.Change(cronSource(nil), nil)
	refused(t, "invalid_source", domain.KindInvalid, facts, err)
	s.then(s.Change(polled(func(c *domain.SourceConfig) { c.TimeZone = "Asia/Tokyo" }), &s.Revision))
	if s.Config.TimeZone != "Asia/Tokyo" || s.ConfigRecord != (ulid.ULID{2}) || !s.UpdatedAt.After(s.CreatedAt) {
		t.Fatalf("%+v", s.Source)
	}
	s.then(s.Remove())
	for _, decide := range []func() ([]domain.Fact, error){s.Remove,
		func() ([]domain.Fact, error) { return s.Change(polled(nil), nil) }} {
		facts, err = decide()
		refused(t, "source_not_found", domain.KindNotFound, facts, err)
	}
}

func TestSource_RefusesConfigurationsWithTheirFix(t *testing.T) {
	t.Parallel()
	poll := func(change func(*domain.PollConfig)) domain.SourceConfig {
		return polled(func(c *domain.SourceConfig) { change(c.Poll) })
	}
	for name, c := range map[string]domain.SourceConfig{
		"no kind":         polled(func(c *domain.SourceConfig) { c.Kind = "" }),
		"another's":       polled(func(c *domain.SourceConfig) { c.Kind = domain.SourceCron }),
		"both":            polled(func(c *domain.SourceConfig) { c.Cron = &domain.CronConfig{} }),
		"no time zone":    polled(func(c *domain.SourceConfig) { c.TimeZone = "" }),
		"unknown field":   polled(func(c *domain.SourceConfig) { c.Fields = map[string]string{"nope": "/a"} }),
		"no pointer":      polled(func(c *domain.SourceConfig) { c.Fields = map[string]string{"id": "a.b"} }),
		"status":          polled(func(c *domain.SourceConfig) { c.Statuses = map[string]string{"paused": "asleep"} }),
		"no url":          poll(func(p *domain.PollConfig) { p.URL = "api.agenfleet.ai" }),
		"ftp":             poll(func(p *domain.PollConfig) { p.URL = "ftp://a/b" }),
		"credentials":     poll(func(p *domain.PollConfig) { p.URL = "https://me:pw@a/api" }),
		"query":           poll(func(p *domain.PollConfig) { p.URL = "https://a/api?key=1" }),
		"auth":            poll(func(p *domain.PollConfig) { p.Auth = "basic" }),
		"no credentials":  poll(func(p *domain.PollConfig) { p.Credentials = domain.VaultRef{} }),
		"too often":       poll(func(p *domain.PollConfig) { p.Every = 1 }),
		"costs too often": poll(func(p *domain.PollConfig) { p.CostsEvery = 1 }),
		"rate":            poll(func(p *domain.PollConfig) { p.RateLimit = 0 }),
		"no currency": poll(func(p *domain.PollConfig) {
			p.CostsEvery, p.CostPeriod = domain.Duration(time.Hour), "monthly"
		}),
		"no cost period": poll(func(p *domain.PollConfig) { p.CostsEvery, p.Currency = domain.Duration(time.Hour), "USD" }),
		"share":          poll(func(p *domain.PollConfig) { p.AlertThreshold = "80%" }),
		"no token":       cronSource(func(c *domain.SourceConfig) { c.Cron.TokenHash = nil }),
		"window":         cronSource(func(c *domain.SourceConfig) { c.Cron.Window = 0 }),
	} {
		facts, err := new(domain.Source).Add(c)
		t.Run(name, func(t *testing.T) { refused(t, "invalid_source", domain.KindInvalid, facts, err) })
	}
}

func TestValidShare(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"0": true, "1": true, "0.8": true, "1.0": true, "0.125": true, "1.01": false,
		"": false, "-0.1": false, "2": false, ".5": false, "0.": false, "8e-1": false, "0.8.1": false} {
		if got := domain.ValidShare(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
