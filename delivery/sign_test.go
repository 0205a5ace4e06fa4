package delivery

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/vault"
)

// give puts a key or a secret into the vault; nil destroys it.
func (v *memVault) giveKey(id string, key []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keys == nil {
		v.keys = map[string][]byte{}
	}
	v.keys[id] = key
}

func (v *memVault) giveSecret(id, value string) domain.VaultRef {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.secrets == nil {
		v.secrets = map[string]*string{}
	}
	v.secrets[id] = &value
	return domain.VaultRef{KeyID: id}
}

func (v *memVault) destroySecret(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets[id] = nil
}

// wiretap answers 204 and keeps what was sent.
type wiretap struct {
	mu   sync.Mutex
	got  []*http.Request
	body [][]byte
}

func (wt *wiretap) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	wt.mu.Lock()
	defer wt.mu.Unlock()
	wt.got, wt.body = append(wt.got, r), append(wt.body, body)
	return answer(204, ""), nil
}

func (wt *wiretap) last() (*http.Request, []byte) {
	wt.mu.Lock()
	defer wt.mu.Unlock()
	return wt.got[len(wt.got)-1], wt.body[len(wt.body)-1]
}

// sentOnce delivers one event and gives its facts and what was on the wire.
func (w *world) sentOnce(t *testing.T, wt *wiretap, endpoint string) (facts []domain.Fact, r *http.Request,
	body []byte) {
	t.Helper()
	id := w.due(endpoint)
	if _, err := w.turn(endpoint); err != nil {
		t.Fatal(err)
	}
	facts = w.store.facts(id)
	if count[*domain.DeliverySucceeded](facts) != 1 {
		t.Fatalf("the delivery came to %v", w.store.types(id))
	}
	r, body = wt.last()
	return facts, r, body
}

func schemesOf(signatures string) string {
	var out []string
	for _, s := range strings.Fields(signatures) {
		scheme, _, _ := strings.Cut(s, ",")
		out = append(out, scheme)
	}
	return strings.Join(out, " ")
}

// TestBothKeysSignDuringARotation: the new one first; each at its end signs no more, and one that is destroyed already
// does no harm; RequestSigned names exactly those that signed.
func TestBothKeysSignDuringARotation(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	var clock atomic.Int64
	clock.Store(at.UnixNano())
	w := newWorld(t, func(c *Config) { c.Now = func() time.Time { return time.Unix(0, clock.Load()).UTC() } })
	wt := &wiretap{}
	w.d.sender.transport = wt
	pair := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	second := bytes.Repeat([]byte{2}, 32)
	w.vault.giveKey("sk_pair", pair)
	w.vault.giveKey("sk_2", second)
	w.vault.giveKey("sk_gone", nil)
	w.endpoint("ep", "http://127.0.0.1:1/hook", func(c *domain.EndpointConfig) {
		c.Signing = domain.Signing{Scheme: domain.SchemeV1a, KeyID: "sk_pair", Previous: []domain.PreviousKey{
			{Scheme: domain.SchemeV1, KeyID: "sk_2", ValidUntil: at.Add(2 * time.Hour)},
			{Scheme: domain.SchemeV1, KeyID: "sk_gone", ValidUntil: at.Add(2 * time.Hour)},
			{Scheme: domain.SchemeV1, KeyID: "sk_1", ValidUntil: at.Add(time.Hour)}}}
	})
	keys := map[string]domain.Key{
		"sk_pair": {Scheme: domain.SchemeV1a, Bytes: pair.Public().(ed25519.PublicKey)},
		"sk_2":    {Scheme: domain.SchemeV1, Bytes: second}, "sk_1": {Scheme: domain.SchemeV1, Bytes: testKey}}
	for _, step := range []struct {
		after time.Duration
		ids   []string
	}{
		{0, []string{"sk_pair", "sk_2", "sk_1"}},
		{time.Hour - time.Nanosecond, []string{"sk_pair", "sk_2", "sk_1"}},
		{time.Hour, []string{"sk_pair", "sk_2"}},
		{2 * time.Hour, []string{"sk_pair"}},
	} {
		clock.Store(at.Add(step.after).UnixNano())
		facts, r, body := w.sentOnce(t, wt, "ep")
		signed := find[*domain.RequestSigned](t, facts)
		if !slices.Equal(signed.KeyIDs, step.ids) || signed.Scheme != domain.SchemeV1a {
			t.Errorf("after %s %v signed, by %s", step.after, signed.KeyIDs, signed.Scheme)
		}
		if got := r.Header[domain.HeaderWebhookSignature]; len(got) != 1 || got[0] != signed.Signatures ||
			schemesOf(got[0]) != strings.TrimSpace("v1a "+strings.Repeat("v1 ", len(step.ids)-1)) {
			t.Errorf("after %s on the wire: %v, recorded %s", step.after, got, signed.Signatures)
		}
		for id, key := range keys {
			err := domain.Verify([]domain.Key{key}, r.Header[domain.HeaderWebhookID][0],
				r.Header[domain.HeaderWebhookTimestamp][0], signed.Signatures, body, w.cfg.Now())
			if (err == nil) != slices.Contains(step.ids, id) {
				t.Errorf("after %s, with %s: %v", step.after, id, err)
			}
		}
	}
}

// TestWhatAReceiverDemandsGoesOutAndStaysSecret: on the wire the values, on the ledger what stands for them; the legacy
// signature is recorded as sent, and its key named.
func TestWhatAReceiverDemandsGoesOutAndStaysSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wt := &wiretap{}
	w.d.sender.transport = wt
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("n8n:canary-password"))
	w.endpoint("ep", "http://127.0.0.1:1/hook", func(c *domain.EndpointConfig) {
		c.Headers = []domain.SecretHeader{{Name: "X-Api-Key", Value: w.vault.giveSecret("cr_1", "canary-value")}}
		c.Auth = &domain.ReceiverAuth{Type: domain.AuthBasic, Value: w.vault.giveSecret("cr_2", basic)}
		c.Legacy = &domain.LegacySigning{Header: "X-Hub-Signature-256", Prefix: "sha256=",
			Secret: w.vault.giveSecret("cr_3", "canary-legacy")}
	})
	facts, r, body := w.sentOnce(t, wt, "ep")
	hub := "sha256=" + domain.LegacySignature([]byte("canary-legacy"), body)
	if r.Header["X-Api-Key"][0] != "canary-value" || r.Header["Authorization"][0] != basic ||
		r.Header["X-Hub-Signature-256"][0] != hub {
		t.Errorf("on the wire: %v", r.Header)
	}
	started := find[*domain.AttemptStarted](t, facts)
	want := []domain.Header{{Name: "X-Api-Key", Value: "{vault:cr_1}"}, {Name: "Authorization", Value: "{vault:cr_2}"},
		{Name: "X-Hub-Signature-256", Value: hub}}
	if got := started.Headers[len(started.Headers)-3:]; !slices.Equal(got, want) {
		t.Errorf("recorded: %v", got)
	}
	if ids := find[*domain.RequestSigned](t, facts).KeyIDs; !slices.Equal(ids, []string{"sk_1", "cr_3"}) {
		t.Errorf("signed by %v", ids)
	}
	if text := fmt.Sprintf("%+v", facts); strings.Contains(text, "canary-v") || strings.Contains(text, "canary-l") {
		t.Errorf("the ledger holds a secret: %s", text)
	}
	// A replay's mark does not displace what stands for a value.
	for name, values := range r.Header {
		if len(values) != 1 || strings.Contains(values[0], "vault:") {
			t.Errorf("%s: %v", name, values)
		}
	}
}

// TestASecretThatAChangeReplacedIsNoFailure: an attempt that read the endpoint before the change finds the old value
// destroyed; it begins again with what is there by then. Where nothing was changed, it is recorded as a fault.
func TestASecretThatAChangeReplacedIsNoFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wt := &wiretap{}
	w.d.sender.transport = wt
	w.endpoint("ep", "http://127.0.0.1:1/hook", func(c *domain.EndpointConfig) {
		c.Headers = []domain.SecretHeader{{Name: "X-Api-Key", Value: w.vault.giveSecret("cr_1", "old")}}
	})
	w.vault.destroySecret("cr_1")
	fresh := w.vault.giveSecret("cr_2", "new")
	w.cfg.Endpoints = &changing{memHouse: w.house, change: func() {
		w.house.change("ep", func(e *domain.Endpoint) {
			// As a reconfiguration would: another record, with the content sealed for it.
			e.Config.Headers = []domain.SecretHeader{{Name: "X-Api-Key", Value: fresh}}
			e.ConfigRevision++
			e.ConfigRecord = ulid.Make()
			e.ConfigType = "EndpointReconfigured"
			content := *e.Config.Content
			content.Nonce = placeTag(vault.Place{Tenant: "default", Stream: domain.EndpointStream("default", "ep"),
				Record: e.ConfigRecord, Type: e.ConfigType})
			e.Config.Content = &content
		})
	}}
	w.reborn("this life")
	w.d.sender.transport = wt
	facts, r, _ := w.sentOnce(t, wt, "ep")
	if r.Header["X-Api-Key"][0] != "new" || find[*domain.AttemptStarted](t, facts).EndpointRevision != 1 {
		t.Errorf("sent %v", r.Header)
	}

	w.vault.destroySecret("cr_2")
	w.reborn("another life")
	id := w.due("ep")
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	if f := w.failure(id); f.Code != domain.CodeInternal || f.Sent != domain.SentNo {
		t.Errorf("a secret that is gone: %+v", f)
	}
}

// TestASigningKeyThatARotationEndedIsNoFailure: a rotation without overlap destroys the old key at once, under an
// attempt that had read the endpoint before.
func TestASigningKeyThatARotationEndedIsNoFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wt := &wiretap{}
	w.endpoint("ep", "http://127.0.0.1:1/hook", func(c *domain.EndpointConfig) { c.Signing.KeyID = "sk_old" })
	w.vault.giveKey("sk_old", nil)
	w.vault.giveKey("sk_new", bytes.Repeat([]byte{2}, 32))
	w.cfg.Endpoints = &changing{memHouse: w.house, change: func() {
		w.house.change("ep", func(e *domain.Endpoint) { e.Config.Signing.KeyID = "sk_new" })
	}}
	w.reborn("this life")
	w.d.sender.transport = wt
	facts, _, _ := w.sentOnce(t, wt, "ep")
	if ids := find[*domain.RequestSigned](t, facts).KeyIDs; len(ids) != 1 || ids[0] != "sk_new" {
		t.Errorf("signed with %v", ids)
	}
}

// changing is a house whose endpoint changes once it was read.
type changing struct {
	*memHouse
	change func()
	once   sync.Once
}

func (c *changing) Endpoint(tenant, id string) (*domain.Endpoint, bool) {
	e, ok := c.memHouse.Endpoint(tenant, id)
	c.once.Do(c.change)
	return e, ok
}

// TestSemantics_AttemptsThatStartAfterARotationCarryTheNewSignature: with many under way at once, each attempt that
// started after the table had the new key is signed with it, whatever those before it do.
func TestSemantics_AttemptsThatStartAfterARotationCarryTheNewSignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.d.sender.transport = &wiretap{}
	w.vault.giveKey("sk_new", bytes.Repeat([]byte{7}, 32))
	w.endpoint("ep", "http://127.0.0.1:1/hook")
	const deliveries = 400
	ids := make([]string, deliveries)
	for i := range ids {
		ids[i] = w.due("ep")
	}
	var done atomic.Int64
	var rotated atomic.Pointer[time.Time]
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				d, ok := w.backlog.Take(domain.EndpointKey{Tenant: "default", Endpoint: "ep"}, w.cfg.Now())
				if !ok {
					return
				}
				it := &item{Context: t.Context(), due: d}
				if err := w.d.handle(it); err != nil {
					t.Error(err)
				}
				if done.Add(1) == deliveries/2 {
					w.house.change("ep", func(e *domain.Endpoint) {
						old := e.Config.Signing
						e.Config.Signing = domain.Signing{Scheme: domain.SchemeV1, KeyID: "sk_new", Previous: []domain.PreviousKey{
							{Scheme: old.Scheme, KeyID: old.KeyID, ValidUntil: w.cfg.Now().Add(time.Hour)}}}
					})
					answered := w.cfg.Now() // the table has it: this is when the rotation is answered
					rotated.Store(&answered)
				}
			}
		})
	}
	wg.Wait()
	after := 0
	for _, id := range ids {
		facts := w.store.facts(id)
		signed := find[*domain.RequestSigned](t, facts)
		if !find[*domain.AttemptStarted](t, facts).StartedAt.After(*rotated.Load()) {
			continue
		}
		after++
		if !slices.Equal(signed.KeyIDs, []string{"sk_new", "sk_1"}) {
			t.Errorf("%s started after the rotation and is signed by %v", id, signed.KeyIDs)
		}
	}
	if after == 0 {
		t.Error("no attempt started after the rotation")
	}
}
