package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hookledger/cmd/hookledger/output"
	"hookledger/cmd/hookledger/receiver"
	"hookledger/domain"
)

// signing holds the flags of sign and verify. The secret comes from HOOKLEDGER_SECRET too.
type signing struct {
	secret, secretFile, id, timestamp, signatures, at string
}

func newSignature(a *app) *cobra.Command {
	return group("signature", "Sign and verify by hand, as Standard Webhooks does", newSignatureSign(a),
		newSignatureVerify(a))
}

func secretFlags(flags *pflag.FlagSet, secret, file *string) {
	flags.StringVar(secret, "secret", "",
		"the endpoint's signing secret (whsec_...), or, to verify v1a, its public key (whpk_...); several, separated by\n"+
			"spaces, while one is rotated; better HOOKLEDGER_SECRET: others can see flags")
	flags.StringVar(file, "secret-file", "", "file that holds the signing secret")
	asSetting(flags, "secret-file")
}

// signingSecret gives the secret of the flags or the environment; empty for none.
func (a *app) signingSecret(value, file string) (domain.Secret, error) {
	switch {
	case value != "" && file != "" && a.settings.source("secret-file") == "flag":
		return domain.Secret{}, usage("--secret and --secret-file were both given", "give one of them")
	case value != "":
		return domain.NewSecret(strings.TrimSpace(value)), nil
	case a.settings.source("secret-file") == "flag":
		return readSecret(file, "--secret-file")
	}
	if s, err := a.secret("SECRET"); err != nil || !s.Empty() || file == "" {
		return s, err
	}
	return readSecret(file, "secret-file")
}

// neededSecret is signingSecret for a command that can do nothing without one.
func (a *app) neededSecret(s *signing) (domain.Secret, error) {
	secret, err := a.signingSecret(s.secret, s.secretFile)
	if err == nil && secret.Empty() {
		err = usage("which secret?", "set HOOKLEDGER_SECRET or HOOKLEDGER_SECRET_FILE, or give --secret-file")
	}
	return secret, err
}

// signingKeys are the secrets (whsec_...) and private keys (whsk_...) to sign with, one signature for each.
func (a *app) signingKeys(s *signing) ([]domain.Key, error) {
	secret, err := a.neededSecret(s)
	if err != nil {
		return nil, err
	}
	var keys []domain.Key
	for text := range strings.FieldsSeq(secret.Reveal()) {
		key, err := domain.ParseSigningKey(domain.NewSecret(text))
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

type signedHeaders struct {
	ID         string `json:"webhook-id"`
	Timestamp  string `json:"webhook-timestamp"`
	Signatures string `json:"webhook-signature"`
}

func newSignatureSign(a *app) *cobra.Command {
	s := &signing{}
	c := &cobra.Command{Use: "sign [FILE | -]", Short: "Give the three headers that sign a body",
		Long: `Give the three headers that sign a body: by v1 with a secret (whsec_...), by v1a with an ed25519 private key
(whsk_...); with several of them, separated by spaces, one signature for each, as while a secret is rotated.`,
		Example: `  printf '{"test":1}' | hookledger signature sign --id msg_1
  hookledger signature sign --id msg_1 --timestamp 1614265330 body.json -o json`, Args: oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := a.signingKeys(s)
			if err != nil {
				return err
			}
			if !domain.ValidEventID(s.id) {
				return usage("--id is no event id", "use 1 to 128 characters of A-Z a-z 0-9 _ -")
			}
			at := now().Unix()
			if s.timestamp != "" {
				if at, err = strconv.ParseInt(s.timestamp, 10, 64); err != nil || at < 0 {
					return usage("--timestamp is no number of seconds", "give unix seconds, such as 1614265330")
				}
			}
			body, err := a.readInput(fileOrStdin(args), "the body")
			if err != nil {
				return err
			}
			return printOne(a, []output.Column[signedHeaders]{
				column("webhook-id", func(h signedHeaders) string { return h.ID }),
				column("webhook-timestamp", func(h signedHeaders) string { return h.Timestamp }),
				column("webhook-signature", func(h signedHeaders) string { return h.Signatures }),
			}, signedHeaders{s.id, strconv.FormatInt(at, 10), domain.SignEach(keys, s.id, at, body)})
		}}
	secretFlags(c.Flags(), &s.secret, &s.secretFile)
	c.Flags().StringVar(&s.id, "id", "", "webhook-id")
	c.Flags().StringVar(&s.timestamp, "timestamp", "", "webhook-timestamp in unix seconds (default now)")
	required(c, "id")
	return c
}

type verdict struct {
	Verified bool   `json:"verified"`
	Code     string `json:"code,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

func newSignatureVerify(a *app) *cobra.Command {
	s, r, attempt := &signing{}, &remote{}, ""
	c := &cobra.Command{Use: "verify [FILE | -]", Short: "Check a body against the three headers that came with it",
		Long: `Check a body against the three headers that came with it. The exit code is 5 if it does not verify.

A timestamp may be 300 s away from now, either way; --at checks against another time than now. One signature that
matches one of the secrets is enough; one of the scheme v1a is checked with the endpoint's public key (whpk_...),
which hookledger endpoint keys shows.

--attempt takes body and headers from the ledger: it checks what was sent, as of the time when it was signed.`,
		Example: `  hookledger signature verify --id msg_1 --timestamp 1614265330 --signature v1,g0hM9... body.json
  hookledger signature verify --secret whpk_... --id msg_1 \
    --timestamp 1614265330 --signature v1a,hnO3... body.json
  hookledger signature verify --secret-file secret.txt --attempt att_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.toVerify(attempt, args); err != nil {
				return err
			}
			secret, err := a.neededSecret(s)
			if err != nil {
				return err
			}
			keys, err := receiver.Keys(secret)
			if err != nil {
				return err
			}
			at := now()
			var body []byte
			if attempt != "" {
				body, at, err = a.sent(cmd, r, attempt, s)
			} else {
				body, err = a.readInput(fileOrStdin(args), "the body")
			}
			if err != nil {
				return err
			}
			if s.at != "" {
				if at, err = time.Parse(time.RFC3339, s.at); err != nil {
					return usage("--at is no time", "write it like 2026-02-01T15:04:05Z")
				}
			}
			v := verdict{Verified: true}
			bad := domain.Verify(keys, s.id, s.timestamp, s.signatures, body, at)
			if bad != nil {
				v = verdict{Code: domain.Code(bad), Detail: bad.Error()}
			}
			if err := printOne(a, []output.Column[verdict]{
				status("verified", func(v verdict) string { return output.YesNo(v.Verified) }),
				column("code", func(v verdict) string { return v.Code }),
			}, v); err != nil {
				return err
			}
			if bad != nil {
				return &unverifiedError{fmt.Errorf("it does not verify: %w", bad)}
			}
			return nil
		}}
	secretFlags(c.Flags(), &s.secret, &s.secretFile)
	c.Flags().StringVar(&s.id, "id", "", "webhook-id")
	c.Flags().StringVar(&s.timestamp, "timestamp", "", "webhook-timestamp")
	c.Flags().StringVar(&s.signatures, "signature", "", "webhook-signature")
	c.Flags().StringVar(&s.at, "at", "", "check as if it were this time (RFC 3339; default now)")
	c.Flags().StringVar(&attempt, "attempt", "", "check what this attempt sent, as the ledger has it")
	for _, name := range []string{"id", "timestamp", "signature"} {
		c.MarkFlagsMutuallyExclusive("attempt", name)
	}
	return withRemote(c, r)
}

// toVerify refuses what can't be checked: some of the headers without the others, or an attempt and another body.
func (s *signing) toVerify(attempt string, args []string) error {
	if attempt != "" {
		if len(args) > 0 {
			return usage("an attempt and a FILE were both given", "leave out one of them")
		}
		return nil
	}
	var missing []string
	for name, value := range map[string]string{"--id": s.id, "--timestamp": s.timestamp, "--signature": s.signatures} {
		if value == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return usage(strings.Join(missing, ", ")+" must be given",
		"give the three headers that came with the body, or --attempt ID for what the ledger has")
}

// sent is the body that an attempt sent, and when it was signed; it puts its headers into s.
func (a *app) sent(cmd *cobra.Command, r *remote, id string, s *signing) ([]byte, time.Time, error) {
	t, err := a.attempt(cmd, r, id)
	if err == nil {
		err = requestThere(&t.Value)
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, h := range t.Value.Request.Headers {
		switch strings.ToLower(h.Name) {
		case "webhook-id":
			s.id = h.Value
		case "webhook-timestamp":
			s.timestamp = h.Value
		case "webhook-signature":
			s.signatures = h.Value
		}
	}
	signed, err := strconv.ParseInt(s.timestamp, 10, 64)
	if err != nil || s.signatures == "" {
		return nil, time.Time{}, domain.Refuse(domain.KindInvalid, "no_signature", "this attempt sent no signature",
			"only webhooks are signed; see what was sent with: hookledger attempt get "+id)
	}
	return []byte(t.Value.Request.Body), time.Unix(signed, 0), nil
}

func oneFile(cmd *cobra.Command, got []string) error {
	if len(got) > 1 {
		return usage("the command takes one FILE at most", seeHelp(cmd))
	}
	return nil
}

func fileOrStdin(args []string) string {
	if len(args) == 0 {
		return "-"
	}
	return args[0]
}
