package domain

// Kinds of endpoints: what an event is sent as.
const (
	EndpointWebhook  = "webhook"  // the event itself, signed, over HTTP
	EndpointSlack    = "slack"    // a message to an incoming webhook of Slack's
	EndpointTelegram = "telegram" // a message of a bot to a chat
	EndpointEmail    = "email"    // a mail
)

// Own default limits of the destinations: what their services take.
const (
	SlackRate     = 1.0 // messages a second, of one webhook
	TelegramRate  = 1.0 // likewise, of one chat
	EmailInFlight = 2   // connections to one mail server
)

// SetDefaultLimits sets the limits that the configuration does not set to those that the kind's service has.
func (c *EndpointConfig) SetDefaultLimits() {
	switch {
	case c.Kind == EndpointSlack && c.RateLimit == 0:
		c.RateLimit = SlackRate
	case c.Kind == EndpointTelegram && c.RateLimit == 0:
		c.RateLimit = TelegramRate
	case c.Kind == EndpointEmail && c.MaxInFlight == 0:
		c.MaxInFlight = EmailInFlight
	}
}

// Signs says whether what goes to the endpoint is signed.
func (c *EndpointConfig) Signs() bool { return c.Kind == EndpointWebhook || c.Kind == "" }

func (c *EndpointConfig) checkKind() error {
	refuse := func(detail, fix string) error { return Refuse(KindInvalid, "invalid_kind", detail, fix) }
	switch c.Kind {
	case "", EndpointWebhook, EndpointSlack, EndpointEmail:
	case EndpointTelegram:
		if c.Credential == nil {
			return refuse("the endpoint has no bot token", "give telegram.token, which @BotFather shows")
		}
	default:
		return refuse("\""+c.Kind+"\" is no kind of endpoint", "use webhook, slack, telegram or email")
	}
	if !c.Signs() && (len(c.Headers) > 0 || c.Auth != nil || c.ClientCert != nil || c.Legacy != nil) {
		return refuse("headers, authentication, certificates and signatures are for webhooks, and this endpoint is of kind "+
			c.Kind, "leave them out")
	}
	return nil
}

// SchemeSMTP is the scheme of EndpointEmail. Its connections are encrypted, with STARTTLS.
const SchemeSMTP = "smtp"

// EmailContent says from whom to whom an endpoint's mails go. From and To are addresses, with a name or without.
type EmailContent struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Username string `json:"username,omitempty"` // of the login; empty: there is none
}
