package domain_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"hookledger/domain"
)

const canary = "whsec_c2VjcmV0LWNhbmFyeS1jYW5hcnktY2FuYXJ5"

func TestSecret_PrintsNothing(t *testing.T) {
	t.Parallel()
	secret := domain.NewSecret(canary)
	config := struct {
		Public domain.Secret
		hidden domain.Secret
		keys   map[string]domain.Secret
		list   []domain.Secret
		ptr    *domain.Secret
	}{secret, secret, map[string]domain.Secret{"a": secret}, []domain.Secret{secret}, &secret}
	wrapped := errors.Join(fmt.Errorf("with %v", secret))
	for _, v := range []any{secret, &secret, config, &config, []domain.Secret{secret}, wrapped} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T", "%10.3v"} {
			refuseCanary(t, verb, fmt.Sprintf(verb, v))
		}
		refuseCanary(t, "print", fmt.Sprint(v)+fmt.Sprintln(v))
		for name, marshal := range map[string]func(any) ([]byte, error){"json": json.Marshal, "xml": xml.Marshal} {
			b, _ := marshal(v) // not everything has XML
			refuseCanary(t, name, string(b))
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v, slog.Group("g", "v", v))
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		refuseCanary(t, "slog", log.String())
	}
	for _, text := range []string{fmt.Sprint(secret), fmt.Sprintf("%q", secret), secret.String(), secret.GoString()} {
		if text != "[redacted]" {
			t.Errorf("printed %q", text)
		}
	}
	b, err := json.Marshal(map[domain.Secret]domain.Secret{secret: secret})
	if err != nil || string(b) != `{"[redacted]":"[redacted]"}` {
		t.Errorf("%s, %v", b, err)
	}
}

// The value must not come out whole, nor encoded as %x would.
func refuseCanary(t *testing.T, how, text string) {
	t.Helper()
	for _, form := range []string{canary, canary[6:], fmt.Sprintf("%x", canary), fmt.Sprintf("%v", []byte(canary))} {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
}

func TestSecret_RevealsAndCompares(t *testing.T) {
	t.Parallel()
	var none domain.Secret
	if s := domain.NewSecret("a"); s.Reveal() != "a" || s.Empty() || s.Fingerprint() != "ca978112ca1bbdca" {
		t.Errorf("%q %v %q", s.Reveal(), s.Empty(), s.Fingerprint())
	}
	if !none.Empty() || none.Reveal() != "" || !domain.NewSecret("").Empty() || fmt.Sprint(none) != "[redacted]" {
		t.Error("the zero secret is the empty one")
	}
}
