package domain_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

func signingKey(id string) domain.Signing {
	return domain.Signing{Scheme: domain.SchemeV1, KeyID: id, Fingerprint: "of " + id}
}

func retiring(e *endpoint) []string {
	var out []string
	for _, r := range e.Retiring {
		out = append(out, r.KeyID+" "+r.Reason+" at "+r.From.Sub(start).String())
	}
	return out
}

// TestSemantics_ARotationKeepsTheReplacedKeysUntilTheirEnd: at most two of them; what has ended signs no more and can
// be destroyed, what was destroyed is forgotten; a configuration that follows carries them.
func TestSemantics_ARotationKeepsTheReplacedKeysUntilTheirEnd(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	e.then(e.Register(config(func(c *domain.EndpointConfig) { c.Signing = signingKey("sk_1") })))
	before := e.Clone()
	at := start.Add(time.Hour)
	e.then(e.Rotate(signingKey("sk_2"), 24*time.Hour, at))
	e.then(e.Rotate(signingKey("sk_3"), 2*time.Hour, at.Add(time.Hour)))
	if before.Config.Signing.KeyID != "sk_1" || before.Config.Signing.Previous != nil || before.Retiring != nil {
		t.Error("a rotation changed what others hold")
	}
	s := e.Config.Signing
	if s.KeyID != "sk_3" || len(s.Previous) != 2 || s.Previous[0].KeyID != "sk_2" || s.Previous[1].KeyID != "sk_1" ||
		!s.Previous[0].ValidUntil.Equal(at.Add(3*time.Hour)) || !s.Previous[1].ValidUntil.Equal(at.Add(24*time.Hour)) {
		t.Fatalf("signing %+v", s)
	}
	facts, err := e.Rotate(signingKey("sk_4"), time.Hour, at.Add(2*time.Hour))
	refused(t, "too_many_secrets", domain.KindConflict, facts, err)
	if !strings.Contains(err.Error(), at.Add(3*time.Hour).Format(time.RFC3339)) {
		t.Errorf("it does not say when the first one ends: %v", err)
	}
	facts, err = e.Rotate(signingKey("sk_3"), time.Hour, at.Add(4*time.Hour))
	refused(t, "same_secret", domain.KindInvalid, facts, err)
	for _, overlap := range []time.Duration{-1, domain.MaxOverlap + 1} {
		facts, err = e.Rotate(signingKey("sk_4"), overlap, at.Add(4*time.Hour))
		refused(t, "invalid_overlap", domain.KindInvalid, facts, err)
	}

	c := e.Config
	c.Description = "another"
	e.then(e.Reconfigure(c, nil))
	if len(e.Config.Signing.Previous) != 2 || len(e.Retiring) != 2 {
		t.Errorf("a change of another thing lost the replaced keys: %+v", e.Config.Signing)
	}
	// sk_2 has ended and nobody destroyed it yet: it counts for no bound, and is still to be destroyed.
	e.then(e.Rotate(signingKey("sk_4"), time.Hour, at.Add(4*time.Hour)))
	want := []string{"sk_1 rotated at 25h0m0s", "sk_2 rotated at 4h0m0s", "sk_3 rotated at 6h0m0s"}
	if got := retiring(e); !slices.Equal(got, want) {
		t.Errorf("retiring %v", got)
	}
	facts, because := e.Retire([]string{"sk_1", "sk_2", "sk_4", "sk_9"}, at.Add(4*time.Hour))
	if len(facts) != 1 || !slices.Equal(facts[0].(*domain.EndpointSecretRetired).Keys, []string{"sk_2"}) ||
		because.IsZero() {
		t.Fatalf("retired %+v because of %s", facts, because)
	}
	e.then(facts, nil)
	if facts, _ := e.Retire([]string{"sk_2"}, at.Add(5*time.Hour)); facts != nil {
		t.Error("it was said twice")
	}
	// An overlap of 0 ends them all at once.
	e.then(e.Rotate(signingKey("sk_5"), 0, at.Add(4*time.Hour+time.Minute)))
	for _, p := range e.Config.Signing.Previous {
		if p.ValidUntil.After(at.Add(4*time.Hour + time.Minute)) {
			t.Errorf("%s signs until %s", p.KeyID, p.ValidUntil)
		}
	}
	facts, _ = e.Retire([]string{"sk_1", "sk_3", "sk_4", "sk_5"}, at.Add(5*time.Hour))
	e.then(facts, nil)
	if e.Config.Signing.Previous != nil || e.Retiring != nil || e.Config.Signing.KeyID != "sk_5" {
		t.Errorf("left: %+v %v", e.Config.Signing, e.Retiring)
	}
}

// TestEndpoint_SecretsThatNothingUsesRetire: those that a change replaces at once, all of them with the endpoint.
func TestEndpoint_SecretsThatNothingUsesRetire(t *testing.T) {
	t.Parallel()
	ref := func(id string) domain.VaultRef { return domain.VaultRef{KeyID: id} }
	e := newEndpoint(t)
	e.then(e.Register(config(func(c *domain.EndpointConfig) {
		c.Signing = signingKey("sk_1")
		c.Headers = []domain.SecretHeader{{Name: "A", Value: ref("cr_a")}, {Name: "B", Value: ref("cr_b")}}
		c.Auth = &domain.ReceiverAuth{Type: domain.AuthBearer, Value: ref("cr_auth")}
		c.ClientCert = &domain.ClientCert{Pair: ref("cr_cert")}
		c.Legacy = &domain.LegacySigning{Header: "X-Hub-Signature", Secret: ref("cr_legacy")}
	})))
	c := e.Config
	c.Headers = []domain.SecretHeader{{Name: "A", Value: ref("cr_a")}, {Name: "B", Value: ref("cr_b2")}}
	c.Legacy = nil
	e.then(e.Reconfigure(c, nil))
	if got := retiring(e); !slices.Equal(got, []string{"cr_b replaced at 1m0s", "cr_legacy replaced at 1m0s"}) {
		t.Errorf("replaced: %v", got)
	}
	facts, _ := e.Retire([]string{"cr_b", "cr_legacy"}, start.Add(time.Hour))
	e.then(facts, nil)
	e.then(e.Rotate(signingKey("sk_2"), 24*time.Hour, start.Add(2*time.Minute)))
	e.then(e.Remove())
	ids := []string{}
	for _, r := range e.Retiring {
		if r.Reason != domain.RetiredRemoved || r.From != start.Add(4*time.Minute) {
			t.Errorf("%+v", r)
		}
		ids = append(ids, r.KeyID)
	}
	slices.Sort(ids)
	if want := []string{"cr_a", "cr_auth", "cr_b2", "cr_cert", "sk_1", "sk_2"}; !slices.Equal(ids, want) {
		t.Errorf("with the endpoint retire %v", ids)
	}
	facts, _ = e.Retire(ids, start.Add(time.Hour))
	e.then(facts, nil)
	if e.Exists() || e.Retiring != nil {
		t.Error("it is back, or has something left")
	}
	facts, err := e.Rotate(signingKey("sk_3"), 0, start)
	refused(t, "endpoint_not_found", domain.KindNotFound, facts, err)
}

func TestHeaders_WhatNoneMayBeCalledOrHold(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"X-Api-Key": true, "authorization": true, "x_y.z~1": true, strings.Repeat("a", 64): true, "webhooks": true,
		"": false, "Host": false, "content-type": false, "Content-X": false, "webhook-id": false, "Webhook-Foo": false,
		"Connection": false, "keep-alive": false, "TE": false, "Trailer": false, "transfer-encoding": false,
		"upgrade": false, "proxy-authorization": false, "Proxy-Connection": false, "expect": false, "user-agent": false,
		"Idempotency-Key": false, "x-idempotency-key": false, "a b": false, "a:b": false, "a\r\nb": false, "ä": false,
		strings.Repeat("a", 65): false,
	} {
		if err := domain.CheckHeaderName(name); (err == nil) != ok || !ok && domain.Code(err) != "invalid_header" {
			t.Errorf("%q: %v", name, err)
		}
	}
	for value, ok := range map[string]bool{
		"x": true, "a\tb": true, "gr\u00fc\u00dfe": true, strings.Repeat("v", 4096): true,
		"": false, " x": false, "x ": false, "a\r\nX-Evil: 1": false, "a\nb": false, "a\x00b": false, "a\x7fb": false,
		strings.Repeat("v", 4097): false,
	} {
		err := domain.CheckHeaderValue("X-Api-Key", value)
		if (err == nil) != ok || !ok && domain.Code(err) != "invalid_header" {
			t.Errorf("%q: %v", value, err)
		}
		if err != nil && len(value) > 2 && strings.Contains(err.Error(), value) {
			t.Errorf("the error quotes the value: %v", err)
		}
	}
}

func TestEndpoint_DemandsThatCanNotBe(t *testing.T) {
	t.Parallel()
	headers := func(names ...string) (out []domain.SecretHeader) {
		for _, n := range names {
			out = append(out, domain.SecretHeader{Name: n})
		}
		return out
	}
	many := make([]string, domain.MaxHeaders+1)
	for i := range many {
		many[i] = "X-" + strings.Repeat("a", i+1)
	}
	for want, changes := range map[string][]func(*domain.EndpointConfig){
		"": {
			func(c *domain.EndpointConfig) { c.Headers = headers(many[1:]...) },
			func(c *domain.EndpointConfig) { c.Auth = &domain.ReceiverAuth{Type: domain.AuthBasic} },
			func(c *domain.EndpointConfig) { c.ClientCert = &domain.ClientCert{} },
			func(c *domain.EndpointConfig) { c.Legacy = &domain.LegacySigning{Header: "X-Sig", Prefix: "sha256="} },
		},
		"invalid_header": {
			func(c *domain.EndpointConfig) { c.Headers = headers(many...) },
			func(c *domain.EndpointConfig) { c.Headers = headers("X-A", "x-a") },
			func(c *domain.EndpointConfig) { c.Headers = headers("host") },
			func(c *domain.EndpointConfig) {
				c.Headers, c.Auth = headers("authorization"), &domain.ReceiverAuth{Type: domain.AuthBasic}
			},
			func(c *domain.EndpointConfig) {
				c.Headers, c.Legacy = headers("X-Sig"), &domain.LegacySigning{Header: "x-sig"}
			},
			func(c *domain.EndpointConfig) { c.Legacy = &domain.LegacySigning{Header: "webhook-signature"} },
			func(c *domain.EndpointConfig) { c.Legacy = &domain.LegacySigning{Header: "X-Sig", Prefix: "a\nb"} },
		},
		"invalid_auth": {func(c *domain.EndpointConfig) { c.Auth = &domain.ReceiverAuth{Type: "digest"} }},
		"invalid_client_cert": {
			func(c *domain.EndpointConfig) { c.Scheme, c.ClientCert = "http", &domain.ClientCert{} },
		},
	} {
		for i, change := range changes {
			facts, err := newEndpoint(t).Register(config(change))
			if want == "" && err == nil {
				continue
			}
			refused(t, want, domain.KindInvalid, facts, err)
			if t.Failed() {
				t.Fatalf("%s, case %d", want, i)
			}
		}
	}
}
