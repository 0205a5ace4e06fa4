package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/domain"
)

// kindFlags are what create and update take of endpoints of other kinds than webhook.
type kindFlags struct {
	kind, chat, tokenFile                  string
	smtp, from, to, username, passwordFile string
}

func (f *kindFlags) flags(c *cobra.Command, update bool) {
	flags := c.Flags()
	if !update {
		flags.StringVar(&f.kind, "kind", domain.EndpointWebhook,
			"what an event is sent as: webhook (itself, signed), or slack, telegram, email (a message for people)")
		_ = c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{domain.EndpointWebhook,
			domain.EndpointSlack, domain.EndpointTelegram, domain.EndpointEmail}, cobra.ShellCompDirectiveNoFileComp))
	}
	flags.StringVar(&f.chat, "chat-id", "", "telegram: the chat, such as -1001234567890 or @ops_channel")
	flags.StringVar(&f.tokenFile, "token-file", "", "telegram: FILE with the bot's token; - for stdin")
	flags.StringVar(&f.smtp, "smtp", "", "email: HOST:PORT of the mail server, which must offer STARTTLS; without a port: 587")
	flags.StringVar(&f.from, "from", "", "email: from whom, such as 'Agents <agents@example.com>'")
	flags.StringVar(&f.to, "to", "", "email: to whom; one address")
	flags.StringVar(&f.username, "username", "", "email: of the login; without it there is none")
	flags.StringVar(&f.passwordFile, "password-file", "", "email: FILE with its password; - for stdin")
}

// into adds to a request what was given.
func (f *kindFlags) into(a *app, cmd *cobra.Command, body map[string]any) error {
	if cmd.Flags().Changed("kind") {
		body["kind"] = f.kind
	}
	telegram, email := map[string]any{}, map[string]any{}
	given := func(in map[string]any, flag, name, value string) {
		if cmd.Flags().Changed(flag) {
			in[name] = value
		}
	}
	given(telegram, "chat-id", "chat_id", f.chat)
	given(email, "smtp", "server", f.smtp)
	given(email, "from", "from", f.from)
	given(email, "to", "to", f.to)
	given(email, "username", "username", f.username)
	if err := f.secret(a, telegram, "token", "--token-file", f.tokenFile); err != nil {
		return err
	}
	if err := f.secret(a, email, "password", "--password-file", f.passwordFile); err != nil {
		return err
	}
	if len(telegram) > 0 {
		body["telegram"] = telegram
	}
	if len(email) > 0 {
		body["email"] = email
	}
	return nil
}

func (f *kindFlags) secret(a *app, in map[string]any, name, flag, file string) error {
	if file == "" {
		return nil
	}
	raw, err := a.readInput(file, flag)
	if err != nil {
		return err
	}
	value := strings.TrimSpace(string(raw))
	if value == "" {
		return usage(flag+" is empty", "check the file")
	}
	in[name] = value
	return nil
}

// missing refuses what lacks a flag that its kind needs.
func (f *kindFlags) missing(cmd *cobra.Command) error {
	needs := map[string][]string{domain.EndpointWebhook: {"url"}, domain.EndpointSlack: {"url"},
		domain.EndpointTelegram: {"chat-id", "token-file"}, domain.EndpointEmail: {"smtp", "from", "to"}}
	if needs[f.kind] == nil {
		return usage("--kind: there is no "+f.kind, "use webhook, slack, telegram or email")
	}
	all := append(needs[f.kind], "events")
	missing := slices.DeleteFunc(slices.Clone(all), cmd.Flags().Changed)
	if len(missing) > 0 {
		return usage("--"+strings.Join(missing, ", --")+" must be given",
			"an endpoint of kind "+f.kind+" needs --"+strings.Join(all, ", --"))
	}
	return nil
}

// recipientOf is whom an endpoint's messages go to.
func recipientOf(e apiclient.Endpoint) string {
	switch {
	case e.Telegram != nil:
		return e.Telegram.ChatID
	case e.Email != nil && e.Email.To != "":
		return e.Email.From + " to " + e.Email.To
	}
	return ""
}
