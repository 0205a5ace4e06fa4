package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/mail"
	"reflect"
	"regexp"
	"strings"
	"time"

	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/vault"
)

// Destination is what an endpoint of another kind than webhook needs. What is secret of it goes into the vault, and is
// never shown again.
type Destination struct {
	Kind     string          `json:"kind,omitempty" enum:"webhook,slack,telegram,email"`
	Telegram *TelegramTarget `json:"telegram,omitempty" doc:"Of the kind telegram."`
	Email    *EmailTarget    `json:"email,omitempty" doc:"Of the kind email."`
}

// TelegramTarget is a chat that a bot writes to.
type TelegramTarget struct {
	ChatID string `json:"chat_id,omitempty" maxLength:"64" example:"-1001234567890"`
	Token  string `json:"token,omitempty" maxLength:"256" doc:"The bot's, of @BotFather."`
}

// EmailTarget is a mailbox behind a mail server.
type EmailTarget struct {
	Server   string `json:"server,omitempty" maxLength:"270" example:"smtp.example.com:587"`
	From     string `json:"from,omitempty" maxLength:"320" example:"Agents <agents@example.com>"`
	To       string `json:"to,omitempty" maxLength:"320" example:"ops@example.com"`
	Username string `json:"username,omitempty" maxLength:"320" doc:"Of the login; absent: there is none."`
	Password string `json:"password,omitempty" maxLength:"1024"`
}

// ShownDestination is Destination as shown: whom the messages go to only to those who may see an endpoint's URL.
type ShownDestination struct {
	Telegram *ShownTelegram `json:"telegram,omitempty"`
	Email    *ShownEmail    `json:"email,omitempty"`
}

// ShownTelegram is a TelegramTarget without its token.
type ShownTelegram struct {
	ChatID string `json:"chat_id" example:"-1001234567890"`
}

// ShownEmail is an EmailTarget without its password.
type ShownEmail struct {
	Server   string `json:"server" example:"smtp.example.com:587"`
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`
	Username string `json:"username,omitempty"`
}

const telegramAPI = "https://api.telegram.org/"

const submissionPort = "587" // RFC 6409

// target is where an endpoint's messages go: taken apart, and found to be something that may be set.
type target struct {
	kind, scheme, host string
	content            domain.EndpointContent
}

func (t *target) is(content *domain.EndpointContent) bool {
	return reflect.DeepEqual(&t.content, content)
}

// parseDestination reads where a configuration's messages go.
func (a *api) parseDestination(in *EndpointConfig) (target, error) {
	kind := cmp.Or(in.Kind, domain.EndpointWebhook)
	refuse := func(detail, fix string) (target, error) {
		return target{}, domain.Refuse(domain.KindInvalid, "invalid_destination", detail, fix)
	}
	if kind != domain.EndpointWebhook && (in.Secret != "" || in.Scheme != "") {
		return refuse("what goes to an endpoint of kind "+kind+" is not signed", "leave secret and scheme out")
	}
	switch {
	case in.Telegram != nil && kind != domain.EndpointTelegram:
		return refuse("telegram was given for an endpoint of kind "+kind, "give it with the kind telegram alone")
	case in.Email != nil && kind != domain.EndpointEmail:
		return refuse("email was given for an endpoint of kind "+kind, "give it with the kind email alone")
	case in.URL != "" && kind == domain.EndpointEmail:
		return refuse("url was given for an endpoint of kind email", "leave it out; the mail server is email.server")
	}
	switch kind {
	case domain.EndpointWebhook:
		return a.parseURL(kind, in.URL, domain.EndpointContent{})
	case domain.EndpointSlack:
		t, err := a.parseURL(kind, in.URL, domain.EndpointContent{})
		return t, cmp.Or(err, a.encrypted(&t))
	case domain.EndpointTelegram:
		if in.Telegram == nil || !chatID.MatchString(in.Telegram.ChatID) {
			return refuse("the endpoint has no chat_id of a chat", "give telegram.chat_id: digits, or the @name of a channel")
		}
		if in.Telegram.Token != "" && !botToken.MatchString(in.Telegram.Token) {
			return refuse("the token is no bot's", "give telegram.token as @BotFather shows it: digits, a colon, letters")
		}
		t, err := a.parseURL(kind, cmp.Or(in.URL, telegramAPI), domain.EndpointContent{Chat: in.Telegram.ChatID})
		if err == nil && strings.Contains(t.content.Path, "?") {
			return refuse("the url of the Bot API has a query", "give its base, such as "+telegramAPI)
		}
		return t, cmp.Or(err, a.encrypted(&t))
	case domain.EndpointEmail:
		if in.Email == nil {
			return refuse("the endpoint has no mail server and no addresses", "give email.server, email.from and email.to")
		}
		return a.parseEmail(in.Email)
	}
	return refuse("\""+kind+"\" is no kind of endpoint", "use webhook, slack, telegram or email")
}

var (
	chatID   = regexp.MustCompile(`^(-?[0-9]{1,20}|@[A-Za-z0-9_]{4,32})$`)
	botToken = regexp.MustCompile(`^[0-9]{3,20}:[A-Za-z0-9_-]{10,200}$`)
)

func (a *api) parseURL(kind, url string, content domain.EndpointContent) (target, error) {
	if url == "" {
		return target{}, domain.Refuse(domain.KindInvalid, "invalid_url", "the endpoint has no url",
			"give url, such as https://example.com/hook")
	}
	t := target{kind: kind, content: content}
	var err error
	if t.scheme, t.host, t.content.Path, err = domain.ParseTarget(url); err != nil {
		return t, err
	}
	return t, delivery.CheckTarget(a.Egress, t.scheme, t.host)
}

// encrypted refuses a URL that would carry its capability over the network in the clear.
func (a *api) encrypted(t *target) error {
	if t.scheme == "https" || a.Egress.Dev {
		return nil
	}
	return domain.Refuse(domain.KindInvalid, "invalid_url", "the url of an endpoint of kind "+t.kind+" is not https",
		"use https: whoever reads the url can write to the channel")
}

func (a *api) parseEmail(in *EmailTarget) (target, error) {
	refuse := func(detail, fix string) (target, error) {
		return target{}, domain.Refuse(domain.KindInvalid, "invalid_destination", detail, fix)
	}
	if in.Server == "" {
		return refuse("the endpoint has no mail server", "give email.server, such as smtp.example.com:587")
	}
	host, port, err := net.SplitHostPort(in.Server)
	if err != nil {
		host, port = strings.Trim(in.Server, "[]"), submissionPort
	}
	server := net.JoinHostPort(host, port)
	if _, _, path, err := domain.ParseTarget("https://" + server + "/"); err != nil || path != "/" {
		return refuse("the mail server is no host with a port", "give email.server like smtp.example.com:587")
	}
	if err := delivery.CheckTarget(a.Egress, domain.SchemeSMTP, server); err != nil {
		return target{}, err
	}
	for name, address := range map[string]string{"from": in.From, "to": in.To} {
		if !validAddress(address) {
			return refuse("email."+name+" is no address", "give one like Agents <agents@example.com>, in ASCII; for several "+
				"readers make an endpoint each, so that each has its own deliveries")
		}
	}
	if (in.Username == "") && in.Password != "" {
		return refuse("a password was given without a username", "give both, or none")
	}
	if strings.ContainsFunc(in.Username+in.Password, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return refuse("the login has a control character in it", "check for a line's end that was copied with it")
	}
	return target{kind: domain.EndpointEmail, scheme: domain.SchemeSMTP, host: server, content: domain.EndpointContent{
		Email: &domain.EmailContent{From: in.From, To: in.To, Username: in.Username}}}, nil
}

// validAddress says whether s is one mailbox that can be written in a header and in an SMTP command as it stands.
func validAddress(s string) bool {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return false
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return false
	}
	local, host, _ := strings.Cut(a.Address, "@")
	return local != "" && host != "" && !strings.ContainsAny(a.Address, " <>\"\\")
}

// put writes what is secret into the configuration: what is given, or what the endpoint has; nil: it is new.
func (in *EndpointConfig) put(cfg, have *domain.EndpointConfig, n *newSecrets, now time.Time) error {
	given, needed := "", false
	switch {
	case in.Telegram != nil:
		given, needed = in.Telegram.Token, true
	case in.Email != nil:
		given, needed = in.Email.Password, in.Email.Username != ""
	}
	switch {
	case given != "":
		ref := n.ref("credential", given)
		cfg.Credential = &ref
	case needed && have != nil && have.Credential != nil:
		cfg.Credential = have.Credential
	case needed:
		return domain.Refuse(domain.KindInvalid, "invalid_destination", "the endpoint has no token or password",
			"give telegram.token, or email.password with email.username")
	}
	return in.ReceiverDemands.put(cfg, have, n, now)
}

// destinationOf is a configuration's part as it can be set, and its URL: what is secret stays empty, which keeps it.
func destinationOf(c *domain.EndpointConfig, content *domain.EndpointContent) (Destination, string) {
	out := Destination{Kind: c.Kind}
	switch c.Kind {
	case domain.EndpointTelegram:
		out.Telegram = &TelegramTarget{ChatID: content.Chat}
	case domain.EndpointEmail:
		out.Email = &EmailTarget{Server: c.Host}
		if e := content.Email; e != nil {
			out.Email.From, out.Email.To, out.Email.Username = e.From, e.To, e.Username
		}
		return out, ""
	}
	return out, c.Target(*content)
}

// showDestination shows whom messages go to, as far as the caller may see it.
func (a *api) showDestination(ctx context.Context, c *caller, e *domain.Endpoint) (ShownDestination, error) {
	var out ShownDestination
	if e.Config.Kind != domain.EndpointTelegram && e.Config.Kind != domain.EndpointEmail {
		return out, nil
	}
	var content domain.EndpointContent
	if c.seesURLs() {
		var err error
		content, err = a.openEndpoint(ctx, &e.Config, vault.Place{Tenant: e.Tenant,
			Stream: domain.EndpointStream(e.Tenant, e.ID), Record: e.ConfigRecord, Type: e.ConfigType})
		if err != nil && !errors.Is(err, vault.ErrErased) {
			return out, err
		}
	}
	if e.Config.Kind == domain.EndpointTelegram {
		out.Telegram = &ShownTelegram{ChatID: content.Chat}
		return out, nil
	}
	out.Email = &ShownEmail{Server: e.Config.Host}
	if m := content.Email; m != nil {
		out.Email.From, out.Email.To, out.Email.Username = m.From, m.To, m.Username
	}
	return out, nil
}
