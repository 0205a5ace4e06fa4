package domain_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hookledger/domain"
)

// TestSignEach_Ed25519: what v1a signs verifies by crypto/ed25519 over "id.timestamp.body", and by Verify with the
// public key alone; beside it stand the signatures of v1, each by its own key.
func TestSignEach_Ed25519(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed")
		shared := rapid.SliceOfN(rapid.Byte(), 24, 64).Draw(t, "shared")
		id := rapid.StringMatching(`[A-Za-z0-9_-]{1,128}`).Draw(t, "id")
		ts := rapid.Int64Range(0, 1<<33).Draw(t, "timestamp")
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		key, err := domain.ParseSigningKey(domain.EncodePrivateKey(seed))
		if err != nil {
			t.Fatal(err)
		}
		got := domain.SignEach([]domain.Key{key, {Scheme: domain.SchemeV1, Bytes: shared}, key}, id, ts, body)
		parts := strings.Split(got, " ")
		if len(parts) != 3 || parts[0] != parts[2] || parts[1] != domain.Sign([][]byte{shared}, id, ts, body) {
			t.Fatalf("signed %s", got)
		}
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(parts[0], "v1a,"))
		public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
		message := fmt.Appendf(nil, "%s.%d.%s", id, ts, body)
		if err != nil || !ed25519.Verify(public, message, raw) {
			t.Fatalf("crypto/ed25519 refuses %s", parts[0])
		}
		check, err := domain.ParseVerifyKey(domain.NewSecret(key.PublicKey()))
		if err != nil || !bytes.Equal(check.Bytes, public) {
			t.Fatalf("%v: the public key is %s", err, key.PublicKey())
		}
		verify := func(signatures string, body []byte) string {
			return domain.Code(domain.Verify([]domain.Key{check}, id, strconv.FormatInt(ts, 10), signatures, body,
				time.Unix(ts, 0)))
		}
		if code := verify(got, body); code != "" {
			t.Fatalf("it does not verify: %s", code)
		}
		for what, code := range map[string]string{
			"another body": verify(got, append(body, 'x')), "v1 alone": verify(parts[1], body),
			"no base64": verify("v1a,!", body), "cut off": verify(parts[0][:20], body),
		} {
			if code != "no_matching_signature" {
				t.Errorf("%s: %q", what, code)
			}
		}
	})
}

// TestSignEach_PublicKeySignsNothing: a public key taken for a shared secret must verify nothing: everybody knows it.
func TestSignEach_PublicKeySignsNothing(t *testing.T) {
	t.Parallel()
	key, err := domain.ParseSigningKey(domain.EncodePrivateKey(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	public, err := domain.ParseVerifyKey(domain.NewSecret(key.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	forged := domain.Sign([][]byte{public.Bytes}, vectorID, vectorTime, []byte(vectorBody))
	for _, signatures := range []string{forged, "v1a," + forged[3:]} {
		err := domain.Verify([]domain.Key{public}, vectorID, strconv.Itoa(vectorTime), signatures, []byte(vectorBody),
			time.Unix(vectorTime, 0))
		if domain.Code(err) != "no_matching_signature" {
			t.Errorf("%s: %v", signatures, err)
		}
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	seed := bytes.Repeat([]byte{3}, 32)
	private := domain.EncodePrivateKey(seed).Reveal()
	raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(private, "whsk_"))
	encode := base64.StdEncoding.EncodeToString
	broken := bytes.Clone(raw)
	broken[40]++
	public := "whpk_" + encode(raw[32:])
	for text, want := range map[string]struct {
		signs, verifies bool
		scheme          string
	}{
		private:                            {true, true, domain.SchemeV1a},
		"whsk_" + encode(seed):             {true, true, domain.SchemeV1a},
		public:                             {false, true, domain.SchemeV1a},
		vectorSecret:                       {true, true, domain.SchemeV1},
		"whsk_" + encode(broken):           {false, false, ""},
		"whsk_" + encode(raw[:40]):         {false, false, ""},
		"whsk_":                            {false, false, ""},
		"whpk_" + encode(raw):              {false, false, ""},
		"whpk_!":                           {false, false, ""},
		"whsec_" + encode(make([]byte, 8)): {false, false, ""},
	} {
		s, serr := domain.ParseSigningKey(domain.NewSecret(text))
		v, verr := domain.ParseVerifyKey(domain.NewSecret(text))
		if (serr == nil) != want.signs || (verr == nil) != want.verifies {
			t.Errorf("%s: %v, %v", text, serr, verr)
		}
		if want.signs && s.Scheme != want.scheme || want.verifies && v.Scheme != want.scheme {
			t.Errorf("%s: schemes %q and %q", text, s.Scheme, v.Scheme)
		}
		if want.scheme == domain.SchemeV1a && want.verifies && !bytes.Equal(v.Bytes, raw[32:]) {
			t.Errorf("%s: another public key", text)
		}
		if want.signs && s.Scheme == domain.SchemeV1a && s.PublicKey() != public {
			t.Errorf("%s: the public key is %s", text, s.PublicKey())
		}
	}
	if key := (domain.Key{Scheme: domain.SchemeV1, Bytes: raw}); key.PublicKey() != "" {
		t.Error("a shared secret has a public key")
	}
}

func TestLegacySignature(t *testing.T) {
	t.Parallel()
	key, body := []byte("It's a Secret to Everybody"), []byte("Hello, World!")
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	// The example of GitHub's documentation.
	const want = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if got := domain.LegacySignature(key, body); got != want || got != hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("signed %s", got)
	}
}

func BenchmarkSignEach(b *testing.B) {
	key, err := domain.ParseSigningKey(domain.EncodePrivateKey(make([]byte, 32)))
	if err != nil {
		b.Fatal(err)
	}
	body := bytes.Repeat([]byte("x"), 350)
	b.ReportAllocs()
	for b.Loop() {
		domain.SignEach([]domain.Key{key}, vectorID, vectorTime, body)
	}
}
