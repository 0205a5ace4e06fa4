package domain

// Kinds of endpoints: what an event is sent as.
const (
	EndpointWebhook  = "webhook"  // the event itself, signed, over HTTP
	EndpointSlack    = "slack"    // a message to an incoming webhook of Slack's
	EndpointTelegram = "telegram" // a message of a bot to a chat
	EndpointEmail    = "email"    // a mail
)

// SchemeSMTP is the scheme of EndpointEmail. Its connections are encrypted, with STARTTLS.
const SchemeSMTP = "smtp"

// EmailContent says from whom to whom an endpoint's mails go. From and To are addresses, with a name or without.
type EmailContent struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Username string `json:"username,omitempty"` // of the login; empty: there is none
}
