package receiver

import (
	"strings"

	"hookledger/domain"
)

// OneKey checks every path with the same secret.
func OneKey(secret domain.Secret) (func(string) [][]byte, error) {
	key, err := domain.SigningKey(secret)
	if err != nil {
		return nil, err
	}
	keys := [][]byte{key}
	return func(string) [][]byte { return keys }, nil
}

// KeysByPath reads lines of "PATH SECRET", for a receiver that several endpoints share. A path that is not named is
// checked with a key that signs nothing, so that no request to it verifies.
func KeysByPath(lines string) (func(string) [][]byte, error) {
	byPath := map[string][][]byte{}
	for line := range strings.Lines(lines) {
		path, secret, ok := strings.Cut(strings.TrimSpace(line), " ")
		if path == "" || strings.HasPrefix(path, "#") {
			continue
		}
		key, err := domain.SigningKey(domain.NewSecret(strings.TrimSpace(secret)))
		if !ok || err != nil || !strings.HasPrefix(path, "/") {
			return nil, domain.Refuse(domain.KindInvalid, "invalid_secrets", "a line of the secrets is not valid",
				"write each as: /path whsec_...")
		}
		byPath[path] = append(byPath[path], key)
	}
	none := [][]byte{nil}
	return func(path string) [][]byte {
		if keys, ok := byPath[path]; ok {
			return keys
		}
		return none
	}, nil
}
