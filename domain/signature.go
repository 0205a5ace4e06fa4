package domain

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// Headers and schemes of Standard Webhooks 1.0.0.
const (
	HeaderWebhookID        = "webhook-id"
	HeaderWebhookTimestamp = "webhook-timestamp"
	HeaderWebhookSignature = "webhook-signature"
	// HeaderWebhookReplay marks what is sent again on purpose, as Delivery.Mark says; ours, not the standard's.
	HeaderWebhookReplay = "webhook-replay"
	SchemeV1            = "v1"  // HMAC-SHA256 with a secret that sender and receiver share
	SchemeV1a           = "v1a" // ed25519: the receiver needs the public key only
	SecretPrefix        = "whsec_"
	PrivateKeyPrefix    = "whsk_"
	PublicKeyPrefix     = "whpk_"
)

// SignatureTolerance is how far a request's timestamp may lie from the receiver's clock, either way: 300 s pass, 301 s
// do not.
const SignatureTolerance = 300 * time.Second

// Key signs or verifies by one scheme. Bytes are, of v1, the shared secret, and of v1a the private key for who signs
// (64 bytes) and the public one for who verifies (32 bytes). Nobody changes them.
type Key struct {
	Scheme string
	Bytes  []byte
}

// EncodeSigningSecret writes a key of 24 to 64 bytes as "whsec_" and base64.
func EncodeSigningSecret(key []byte) Secret {
	return NewSecret(SecretPrefix + base64.StdEncoding.EncodeToString(key))
}

// EncodePrivateKey writes an ed25519 key made of its 32 bytes of seed as "whsk_" and the base64 of 64 bytes.
func EncodePrivateKey(seed []byte) Secret {
	return NewSecret(PrivateKeyPrefix + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed)))
}

// SigningKey reads the bytes of a v1 secret. A key under 24 or over 64 bytes, the empty one above all, is refused.
func SigningKey(s Secret) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Reveal(), SecretPrefix))
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, Refuse(KindInvalid, "invalid_signing_secret", "this is no signing secret",
			"give whsec_ and the base64 of 24 to 64 bytes")
	}
	return key, nil
}

// ParseSigningKey reads the key to sign with: a secret of v1, or a private key of v1a, whose seed alone will do.
func ParseSigningKey(s Secret) (Key, error) {
	text, private := strings.CutPrefix(s.Reveal(), PrivateKeyPrefix)
	if !private {
		key, err := SigningKey(s)
		return Key{SchemeV1, key}, err
	}
	refused := Refuse(KindInvalid, "invalid_signing_secret", "this is no private key",
		"give whsk_ and the base64 of an ed25519 key of 64 bytes, or of its seed of 32")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
		return Key{}, refused
	}
	key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	if len(raw) == ed25519.PrivateKeySize && !hmac.Equal(raw, key) {
		return Key{}, refused // its public half is another key's: what it signs would verify nowhere
	}
	return Key{SchemeV1a, key}, nil
}

// ParseVerifyKey reads the key to verify with: a secret of v1, or a public key of v1a; a private key has its public one
// in it.
func ParseVerifyKey(s Secret) (Key, error) {
	text, public := strings.CutPrefix(s.Reveal(), PublicKeyPrefix)
	if public {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return Key{}, Refuse(KindInvalid, "invalid_signing_secret", "this is no public key",
				"give whpk_ and the base64 of the 32 bytes of an ed25519 public key")
		}
		return Key{SchemeV1a, raw}, nil
	}
	key, err := ParseSigningKey(s)
	if err == nil && key.Scheme == SchemeV1a {
		key.Bytes = key.Bytes[ed25519.SeedSize:]
	}
	return key, err
}

// PublicKey is what a receiver needs to verify what the key signs: "whpk_" and base64; nothing for a key of v1.
func (k Key) PublicKey() string {
	if k.Scheme != SchemeV1a || len(k.Bytes) != ed25519.PrivateKeySize {
		return ""
	}
	return PublicKeyPrefix + base64.StdEncoding.EncodeToString(k.Bytes[ed25519.SeedSize:])
}

// Secret writes a key to sign with in the one way that has its fingerprint.
func (k Key) Secret() Secret {
	if k.Scheme == SchemeV1a {
		return EncodePrivateKey(k.Bytes[:ed25519.SeedSize])
	}
	return EncodeSigningSecret(k.Bytes)
}

// signedHead is what stands before the body in what is signed: "id.timestamp."
func signedHead(b []byte, id string, timestamp int64) []byte {
	b = append(append(b, id...), '.')
	return append(strconv.AppendInt(b, timestamp, 10), '.')
}

// Sign gives the value of webhook-signature by v1: for each key "v1," and the base64 of HMAC-SHA256 over
// "id.timestamp.body", separated by a space. timestamp is in unix seconds.
func Sign(keys [][]byte, id string, timestamp int64, body []byte) string {
	b := make([]byte, 0, len(keys)*48)
	var prefix [MaxIDLength + 24]byte
	head := signedHead(prefix[:0], id, timestamp)
	for i, key := range keys {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendV1(b, key, head, body)
	}
	return string(b)
}

func appendV1(b, key, head, body []byte) []byte {
	var sum [sha256.Size]byte
	mac := hmac.New(sha256.New, key)
	mac.Write(head)
	mac.Write(body)
	return base64.StdEncoding.AppendEncode(append(b, "v1,"...), mac.Sum(sum[:0]))
}

// SignEach is Sign with keys of any scheme, in their order: those of v1a give "v1a," and the base64 of the ed25519
// signature over the same bytes.
func SignEach(keys []Key, id string, timestamp int64, body []byte) string {
	b := make([]byte, 0, len(keys)*96)
	head := signedHead(make([]byte, 0, len(id)+24+len(body)), id, timestamp)
	for i, key := range keys {
		if i > 0 {
			b = append(b, ' ')
		}
		if key.Scheme != SchemeV1a {
			b = appendV1(b, key.Bytes, head, body)
			continue
		}
		message := append(head[:len(head):cap(head)], body...)
		b = append(b, "v1a,"...)
		b = base64.StdEncoding.AppendEncode(b, ed25519.Sign(key.Bytes, message))
	}
	return string(b)
}

// LegacySignature is the hex HMAC-SHA256 of the body alone, as senders before the standard put it into a header.
func LegacySignature(key, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Verify checks a received request against the keys: one of its signatures must match one of them, by the key's scheme,
// and its timestamp must lie within SignatureTolerance of now.
func Verify(keys []Key, id, timestamp, signatures string, body []byte, now time.Time) error {
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
	for _, k := range keys {
		if k.matches(signatures, id, ts, body) {
			return nil
		}
	}
	return Refuse(KindInvalid, "no_matching_signature", "no signature matches",
		"check the secret, and verify the raw body, before any JSON parser changed it")
}

// matches says whether one of the signatures is the key's.
func (k Key) matches(signatures, id string, ts int64, body []byte) bool {
	switch {
	case k.Scheme == SchemeV1a && len(k.Bytes) == ed25519.PublicKeySize:
		message := append(signedHead(nil, id, ts), body...)
		for got := range strings.SplitSeq(signatures, " ") {
			text, ok := strings.CutPrefix(got, "v1a,")
			if !ok {
				continue
			}
			if raw, err := base64.StdEncoding.DecodeString(text); err == nil && ed25519.Verify(k.Bytes, message, raw) {
				return true
			}
		}
	case k.Scheme == SchemeV1 && len(k.Bytes) > 0:
		want := []byte(Sign([][]byte{k.Bytes}, id, ts, body))
		for got := range strings.SplitSeq(signatures, " ") {
			if hmac.Equal([]byte(got), want) {
				return true
			}
		}
	}
	return false
}
