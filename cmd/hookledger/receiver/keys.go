package receiver

import (
	"strings"

	"hookledger/domain"
)

// OneKey checks every path with the same secret, or with several that a space separates: any of them will do.
func OneKey(secret domain.Secret) (func(string) []domain.Key, error) {
	keys, err := Keys(secret)
	if err != nil {
		return nil, err
	}
	return func(string) []domain.Key { return keys }, nil
}

// Keys reads what a receiver verifies with: secrets (whsec_...) or public keys (whpk_...), separated by white space.
func Keys(secret domain.Secret) ([]domain.Key, error) {
	var keys []domain.Key
	for text := range strings.FieldsSeq(secret.Reveal()) {
		key, err := domain.ParseVerifyKey(domain.NewSecret(text))
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, domain.Refuse(domain.KindInvalid, "invalid_signing_secret", "the secret is empty",
			"give whsec_ and the base64 of 24 to 64 bytes, or a public key, whpk_...")
	}
	return keys, nil
}

// KeysByPath reads lines of "PATH SECRET", for a receiver that several endpoints share; a path with several lines is
// checked with each. A path that is not named is
// checked with a key that signs nothing, so that no request to it verifies.
func KeysByPath(lines string) (func(string) []domain.Key, error) {
	byPath := map[string][]domain.Key{}
	for line := range strings.Lines(lines) {
		path, secret, ok := strings.Cut(strings.TrimSpace(line), " ")
		if path == "" || strings.HasPrefix(path, "#") {
			continue
		}
		key, err := domain.ParseVerifyKey(domain.NewSecret(strings.TrimSpace(secret)))
		if !ok || err != nil || !strings.HasPrefix(path, "/") {
			return nil, domain.Refuse(domain.KindInvalid, "invalid_secrets", "a line of the secrets is not valid",
				"write each as: /path whsec_..., or /path whpk_...")
		}
		byPath[path] = append(byPath[path], key)
	}
	none := []domain.Key{{}}
	return func(path string) []domain.Key {
		if keys, ok := byPath[path]; ok {
			return keys
		}
		return none
	}, nil
}
