package domain

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Headers and scheme of Standard Webhooks 1.0.0.
const (
	HeaderWebhookID        = "webhook-id"
	HeaderWebhookTimestamp = "webhook-timestamp"
	HeaderWebhookSignature = "webhook-signature"
	// HeaderWebhookReplay marks a request that repeats a delivery which had succeeded; ours, not the standard's.
	HeaderWebhookReplay = "webhook-replay"
	SchemeV1            = "v1"
	SecretPrefix        = "whsec_"
)

// SignatureTolerance is how far a request's timestamp may lie from the receiver's clock, either way: 300 s pass, 301 s
// do not.
const SignatureTolerance = 300 * time.Second

// EncodeSigningSecret writes a key of 24 to 64 bytes as "whsec_" and base64.
func EncodeSigningSecret(key []byte) Secret {
	return NewSecret(SecretPrefix + base64.StdEncoding.EncodeToString(key))
}

// SigningKey reads the bytes of a secret. A key under 24 or over 64 bytes, the empty one above all, is refused.
func SigningKey(s Secret) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Reveal(), SecretPrefix))
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, Refuse(KindInvalid, "invalid_signing_secret", "this is no signing secret",
			"give whsec_ and the base64 of 24 to 64 bytes")
	}
	return key, nil
}

// Sign gives the value of webhook-signature: for each key "v1," and the base64 of HMAC-SHA256 over "id.timestamp.body",
// separated by a space. timestamp is in unix seconds.
func Sign(keys [][]byte, id string, timestamp int64, body []byte) string {
	b := make([]byte, 0, len(keys)*48)
	var prefix [MaxIDLength + 24]byte
	head := append(prefix[:0], id...)
	head = append(head, '.')
	head = strconv.AppendInt(head, timestamp, 10)
	head = append(head, '.')
	var sum [sha256.Size]byte
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write(head)
		mac.Write(body)
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, "v1,"...)
		b = base64.StdEncoding.AppendEncode(b, mac.Sum(sum[:0]))
	}
	return string(b)
}

// Verify checks a received request against the keys: one of its v1 signatures must match one of them, and its timestamp
// must lie within SignatureTolerance of now.
func Verify(keys [][]byte, id, timestamp, signatures string, body []byte, now time.Time) error {
	if id == "" || timestamp == "" || signatures == "" {
		return Refuse(KindInvalid, "missing_headers", "the request is not signed",
			"it needs the headers webhook-id, webhook-timestamp and webhook-signature")
	}
	ts, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || ts < 0 || ts > 1<<40 {
		return Refuse(KindInvalid, "invalid_timestamp", "webhook-timestamp is no number of seconds", "send unix seconds")
	}
	const most = int64(SignatureTolerance / time.Second)
	if age := now.Unix() - ts; age > most || age < -most {
		return Refuse(KindInvalid, "timestamp_out_of_tolerance",
			"the request's timestamp is "+strconv.FormatInt(age, 10)+" s away from this clock",
			"at most "+strconv.FormatInt(most, 10)+" s are taken, either way: check the clock, or ask for a fresh delivery")
	}
	var want []string
	for _, k := range keys {
		if len(k) > 0 {
			want = append(want, Sign([][]byte{k}, id, ts, body))
		}
	}
	for got := range strings.SplitSeq(signatures, " ") {
		for _, w := range want {
			if hmac.Equal([]byte(got), []byte(w)) {
				return nil
			}
		}
	}
	return Refuse(KindInvalid, "no_matching_signature", "no signature matches",
		"check the secret, and verify the raw body, before any JSON parser changed it")
}
