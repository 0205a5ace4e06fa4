package domain_test

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strconv"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"

	"hookledger/domain"
)

// The vector of the Standard Webhooks specification.
const (
	vectorSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime      = 1614265330
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func vectorKey(t *testing.T) []byte {
	t.Helper()
	key, err := domain.SigningKey(domain.NewSecret(vectorSecret))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// v1 makes keys of the scheme of their bytes.
func v1(keys ...[]byte) []domain.Key {
	var out []domain.Key
	for _, k := range keys {
		out = append(out, domain.Key{Scheme: domain.SchemeV1, Bytes: k})
	}
	return out
}

func verifyVector(keys [][]byte, signatures string, now time.Time) error {
	return domain.Verify(v1(keys...), vectorID, strconv.Itoa(vectorTime), signatures, []byte(vectorBody), now)
}

func TestSign_FixedVector(t *testing.T) {
	t.Parallel()
	key := vectorKey(t)
	if got := domain.Sign([][]byte{key}, vectorID, vectorTime, []byte(vectorBody)); got != vectorSignature {
		t.Fatalf("signed %s", got)
	}
	if err := verifyVector([][]byte{key}, vectorSignature, time.Unix(vectorTime, 0)); err != nil {
		t.Fatal(err)
	}
}

func TestVerify_ToleranceBothWays(t *testing.T) {
	t.Parallel()
	keys := [][]byte{vectorKey(t)}
	for skew, want := range map[time.Duration]string{
		0: "", 300 * time.Second: "", -300 * time.Second: "", 299 * time.Second: "",
		301 * time.Second: "timestamp_out_of_tolerance", -301 * time.Second: "timestamp_out_of_tolerance",
		87600 * time.Hour: "timestamp_out_of_tolerance",
	} {
		if err := verifyVector(keys, vectorSignature, time.Unix(vectorTime, 0).Add(skew)); domain.Code(err) != want {
			t.Errorf("clock %s off: %v", skew, err)
		}
	}
	if domain.SignatureTolerance != 300*time.Second {
		t.Error("the tolerance is 300 s")
	}
}

func TestVerify_SeveralKeysAndSignatures(t *testing.T) {
	t.Parallel()
	now := time.Unix(vectorTime, 0)
	old, fresh, foreign := vectorKey(t), bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	both := domain.Sign([][]byte{old, fresh}, vectorID, vectorTime, []byte(vectorBody))
	byEmptyKey := domain.Sign([][]byte{{}}, vectorID, vectorTime, []byte(vectorBody))
	for name, c := range map[string]struct {
		keys       [][]byte
		signatures string
		want       string
	}{
		"the old key of two":        {[][]byte{old}, both, ""},
		"the new key of two":        {[][]byte{fresh}, both, ""},
		"one of the receiver's two": {[][]byte{foreign, fresh}, vectorSignature + " " + both, ""},
		"another scheme beside it":  {[][]byte{old}, "v1a,bm90aGluZw== " + vectorSignature, ""},
		"a foreign key":             {[][]byte{foreign}, both, "no_matching_signature"},
		"no key":                    {nil, both, "no_matching_signature"},
		"an empty key":              {[][]byte{{}, nil}, byEmptyKey, "no_matching_signature"},
		"another scheme alone":      {[][]byte{old}, "v2" + vectorSignature[2:], "no_matching_signature"},
		"no scheme":                 {[][]byte{old}, vectorSignature[3:], "no_matching_signature"},
		"cut off":                   {[][]byte{old}, vectorSignature[:20], "no_matching_signature"},
		"no signature":              {[][]byte{old}, "", "missing_headers"},
	} {
		if err := verifyVector(c.keys, c.signatures, now); domain.Code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerify_EveryPartIsSigned(t *testing.T) {
	t.Parallel()
	keys, now, ts := v1(vectorKey(t)), time.Unix(vectorTime, 0), strconv.Itoa(vectorTime)
	for name, c := range map[string]struct{ id, ts, body, want string }{
		"nothing changed":  {vectorID, ts, vectorBody, ""},
		"the id":           {vectorID + "x", ts, vectorBody, "no_matching_signature"},
		"the time":         {vectorID, strconv.Itoa(vectorTime + 1), vectorBody, "no_matching_signature"},
		"the body":         {vectorID, ts, vectorBody + " ", "no_matching_signature"},
		"no id":            {"", ts, vectorBody, "missing_headers"},
		"no time":          {vectorID, "", vectorBody, "missing_headers"},
		"a time in words":  {vectorID, "soon", vectorBody, "invalid_timestamp"},
		"a time below 0":   {vectorID, "-1", vectorBody, "invalid_timestamp"},
		"a time too large": {vectorID, "99999999999999999999", vectorBody, "invalid_timestamp"},
	} {
		if err := domain.Verify(keys, c.id, c.ts, vectorSignature, []byte(c.body), now); domain.Code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSigningKey_RefusesWhatIsNoSecret(t *testing.T) {
	t.Parallel()
	encode := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for secret, ok := range map[string]bool{
		"": false, "whsec_": false, "whsec_" + encode(23): false, "whsec_" + encode(65): false, "whsec_!!!": false,
		"whsec_" + encode(24): true, "whsec_" + encode(64): true, encode(32): true,
	} {
		key, err := domain.SigningKey(domain.NewSecret(secret))
		if (err == nil) != ok || (domain.Code(err) == "invalid_signing_secret") == ok {
			t.Errorf("%q: %v", secret, err)
		}
		if ok && domain.EncodeSigningSecret(key).Reveal() != "whsec_"+encode(len(key)) {
			t.Errorf("%q does not round-trip", secret)
		}
	}
	if _, err := domain.SigningKey(domain.Secret{}); err == nil {
		t.Error("the zero secret is taken")
	}
}

// TestSign_TheOfficialLibraryAgrees: for any key, id, time and body it verifies what we sign, and we what it signs.
func TestSign_TheOfficialLibraryAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 24, 64).Draw(t, "key")
		other := rapid.SliceOfN(rapid.Byte(), 24, 64).Draw(t, "other key")
		id := rapid.StringMatching(`[A-Za-z0-9_-]{1,128}`).Draw(t, "id")
		ts := rapid.Int64Range(0, 1<<33).Draw(t, "timestamp")
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		official, err := standard.NewWebhook(domain.EncodeSigningSecret(key).Reveal())
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{}
		header.Set(domain.HeaderWebhookID, id)
		header.Set(domain.HeaderWebhookTimestamp, strconv.FormatInt(ts, 10))
		header.Set(domain.HeaderWebhookSignature, domain.Sign([][]byte{other, key}, id, ts, body))
		if err := official.VerifyIgnoringTimestamp(body, header); err != nil {
			t.Fatalf("the library refuses what we signed: %v", err)
		}
		theirs, err := official.Sign(id, time.Unix(ts, 0), body)
		if err != nil {
			t.Fatal(err)
		}
		if err := domain.Verify(v1(key), id, strconv.FormatInt(ts, 10), theirs, body, time.Unix(ts, 0)); err != nil {
			t.Fatalf("we refuse what the library signed: %v", err)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	b.ReportAllocs()
	keys, body := [][]byte{bytes.Repeat([]byte{1}, 32)}, bytes.Repeat([]byte("x"), 350)
	for b.Loop() {
		domain.Sign(keys, vectorID, vectorTime, body)
	}
}
