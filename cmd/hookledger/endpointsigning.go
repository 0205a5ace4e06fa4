package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// signingOf says how an endpoint's requests are signed.
func signingOf(e apiclient.Endpoint) string {
	out := []string{e.Signing.Scheme + " " + e.Signing.KeyID}
	for _, p := range e.Signing.Previous {
		out = append(out, p.Scheme+" "+p.KeyID+" until "+output.Time(p.ValidUntil))
	}
	return strings.TrimSpace(output.Join(out))
}

// headersOf lists the headers with what stands for their values.
func headersOf(e apiclient.Endpoint) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		out = append(out, name+": "+e.Headers[name])
	}
	return output.Join(out)
}

func authOf(e apiclient.Endpoint) string {
	if e.Auth == nil {
		return ""
	}
	return e.Auth.Type
}

func clientCertOf(e apiclient.Endpoint) string {
	if e.ClientCert == nil {
		return ""
	}
	ends := " until "
	if e.ClientCert.Expired {
		ends = " EXPIRED at "
	}
	return e.ClientCert.Subject + ends + output.Time(e.ClientCert.NotAfter)
}

func legacyOf(e apiclient.Endpoint) string {
	if e.Legacy == nil {
		return ""
	}
	return e.Legacy.Header + ": " + e.Legacy.Prefix + "<hex HMAC-SHA256 of the body>"
}

// demandFlags are what create and update take of what a receiver asks for.
type demandFlags struct {
	headers                                []string
	authBasic, authBearer                  string
	noAuth, noCert, noLegacy               bool
	clientCert, clientKey                  string
	legacyHeader, legacyPrefix, legacyFile string
}

func (f *demandFlags) flags(c *cobra.Command, update bool) {
	flags := c.Flags()
	flags.StringArrayVar(&f.headers, "header", nil,
		`NAME=VALUE of a header of your own, or NAME=@FILE; several times; NAME= takes it away again`)
	flags.StringVar(&f.authBasic, "auth-basic", "", "USER:PASSWORD that requests authenticate with, or @FILE")
	flags.StringVar(&f.authBearer, "auth-bearer", "", "token that requests authenticate with, or @FILE")
	flags.StringVar(&f.clientCert, "client-cert", "", "FILE with the certificate (PEM) for a receiver that asks for one")
	flags.StringVar(&f.clientKey, "client-key", "", "FILE with its key (PEM, unencrypted)")
	flags.StringVar(&f.legacyHeader, "legacy-header", "",
		"header of one signature more: the hex HMAC-SHA256 of the body, such as X-Hub-Signature-256")
	flags.StringVar(&f.legacyPrefix, "legacy-prefix", "", `what stands before its hex digits, such as "sha256="`)
	flags.StringVar(&f.legacyFile, "legacy-secret-file", "", "FILE with its secret")
	if update {
		flags.BoolVar(&f.noAuth, "no-auth", false, "requests no longer authenticate themselves")
		flags.BoolVar(&f.noCert, "no-client-cert", false, "no certificate is shown any more")
		flags.BoolVar(&f.noLegacy, "no-legacy", false, "the signature of --legacy-header is sent no more")
	}
}

// into adds to a request what was given.
func (f *demandFlags) into(a *app, body map[string]any) error {
	headers := map[string]any{}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return usage("--header: no NAME=VALUE", "write it like X-Api-Key=@key.txt")
		}
		text, err := a.secretText("--header "+name, value)
		if err != nil {
			return err
		}
		if headers[name] = text; text == "" {
			headers[name] = nil
		}
	}
	if len(headers) > 0 {
		body["headers"] = headers
	}
	if err := f.auth(a, body); err != nil {
		return err
	}
	if (f.clientCert == "") != (f.clientKey == "") {
		return usage("one of --client-cert and --client-key is missing", "give both")
	}
	switch {
	case f.noCert:
		body["client_cert"] = nil
	case f.clientCert != "":
		chain, err := a.readInput(f.clientCert, "--client-cert")
		if err != nil {
			return err
		}
		key, err := a.readInput(f.clientKey, "--client-key")
		if err != nil {
			return err
		}
		body["client_cert"] = map[string]string{"chain": string(chain), "key": string(key)}
	}
	return f.legacy(a, body)
}

func (f *demandFlags) auth(a *app, body map[string]any) error {
	if f.authBasic != "" && f.authBearer != "" {
		return usage("--auth-basic and --auth-bearer were both given", "give one of them")
	}
	switch {
	case f.noAuth:
		body["auth"] = nil
	case f.authBasic != "":
		text, err := a.secretText("--auth-basic", f.authBasic)
		if err != nil {
			return err
		}
		user, password, ok := strings.Cut(text, ":")
		if !ok {
			return usage("--auth-basic has no colon", "write USER:PASSWORD")
		}
		body["auth"] = map[string]string{"type": "basic", "username": user, "password": password}
	case f.authBearer != "":
		text, err := a.secretText("--auth-bearer", f.authBearer)
		if err != nil {
			return err
		}
		body["auth"] = map[string]string{"type": "bearer", "token": text}
	}
	return nil
}

func (f *demandFlags) legacy(a *app, body map[string]any) error {
	if f.noLegacy {
		body["legacy_signature"] = nil
		return nil
	}
	legacy := map[string]string{}
	if f.legacyHeader != "" {
		legacy["header"] = f.legacyHeader
	}
	if f.legacyPrefix != "" {
		legacy["prefix"] = f.legacyPrefix
	}
	if f.legacyFile != "" {
		secret, err := readSecret(f.legacyFile, "--legacy-secret-file")
		if err != nil {
			return err
		}
		legacy["secret"] = secret.Reveal()
	}
	if len(legacy) > 0 {
		body["legacy_signature"] = legacy
	}
	return nil
}

// secretText gives a value that a flag holds or names; a file's last line break is not part of it.
func (a *app) secretText(flag, value string) (string, error) {
	raw, err := a.content(flag, value)
	return strings.TrimRight(string(raw), "\r\n"), err
}

// keyFlags are what create and rotate-secret take of a signing key.
type keyFlags struct{ file, scheme string }

func (f *keyFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "secret-file", "",
		"FILE with the secret (whsec_...) or private key (whsk_...) to sign with; without it a new one is made")
	c.Flags().StringVar(&f.scheme, "scheme", "",
		"of a new one: v1 (HMAC, a shared secret), or v1a (ed25519, verified with a public key)")
}

func (f *keyFlags) into(body map[string]any) error {
	if f.scheme != "" {
		body["scheme"] = f.scheme
	}
	if f.file == "" {
		return nil
	}
	secret, err := readSecret(f.file, "--secret-file")
	body["secret"] = secret.Reveal()
	return err
}

// noteSecret says what to do with what an answer shows once.
func (a *app) noteSecret(e *apiclient.Endpoint) {
	switch {
	case e.Secret != "":
		a.note("keep the secret: it is not shown again, and the receiver needs it to check signatures")
	case e.Signing.PublicKey != "":
		a.note("the receiver checks signatures with the public key; it can be shown again: hookledger endpoint keys %s", e.ID)
	}
}

func newEndpointRotate(a *app, r *remote) *cobra.Command {
	f, overlap := &keyFlags{}, 24*time.Hour
	c := &cobra.Command{Use: "rotate-secret ID", Short: "Sign with a new secret; it is shown once",
		Long: `Sign with a new secret, which is shown once. For the overlap each request carries two signatures, by the new
secret and by the replaced one, so that the receiver can change its own meanwhile; then the replaced one is destroyed.
Each attempt that starts after this command has answered carries the new signature.

An overlap of 0s ends the replaced secret at once, and those before it: for one that leaked. At most two replaced
secrets sign at the same time.`,
		Example: `  hookledger endpoint rotate-secret ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C
  hookledger endpoint rotate-secret ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --overlap 0s
  hookledger endpoint rotate-secret ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --scheme v1a --overlap 72h`, Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"overlap": overlap.String()}
			if err := f.into(body); err != nil {
				return err
			}
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			var out apiclient.Item[apiclient.Endpoint]
			if err := c.Post(cmd.Context(), endpointPath(args[0])+"/rotate-secret", body, &out); err != nil {
				return err
			}
			if err := output.One(a.printer, endpointColumns(), out.Raw, out.Value); err != nil {
				return err
			}
			a.noteSecret(&out.Value)
			return nil
		}}
	f.flags(c)
	c.Flags().DurationVar(&overlap, "overlap", overlap, "how long the replaced secret signs, too: 0s to 720h")
	return c
}

func newEndpointKeys(a *app, r *remote) *cobra.Command {
	return &cobra.Command{Use: "keys ID", Short: "List the keys that sign an endpoint's requests, with the public ones",
		Example: "  hookledger endpoint keys ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C -o json", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			out := output.NewList(a.printer, signingKeyColumns())
			path := endpointPath(args[0]) + "/keys"
			for page, err := range apiclient.All[apiclient.SigningKey](cmd.Context(), c, path, nil) {
				if err != nil {
					return err
				}
				for _, key := range page.Data {
					if err := out.Add(key.Raw, key.Value); err != nil {
						return err
					}
				}
			}
			if out.Len() == 0 {
				a.note("it signs nothing: only requests to endpoints of the kind webhook are signed")
				if a.printer.Format == output.Table {
					return nil
				}
			}
			return out.Close()
		}}
}

func signingKeyColumns() []output.Column[apiclient.SigningKey] {
	return []output.Column[apiclient.SigningKey]{
		column("key_id", func(k apiclient.SigningKey) string { return k.KeyID }),
		column("scheme", func(k apiclient.SigningKey) string { return k.Scheme }),
		status("status", func(k apiclient.SigningKey) string { return k.Status }),
		column("fingerprint", func(k apiclient.SigningKey) string { return k.Fingerprint }),
		column("valid_until", func(k apiclient.SigningKey) string { return output.Time(k.ValidUntil) }),
		column("public_key", func(k apiclient.SigningKey) string { return k.PublicKey }),
	}
}
