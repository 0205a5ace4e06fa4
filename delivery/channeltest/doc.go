// Package channeltest has stand-ins of the services that messages go to: Slack's incoming webhooks, Telegram's Bot API
// and an SMTP server with STARTTLS, each in its own format and with its own refusals. The demo and the tests run them
// on loopback. It knows nothing of hookledger, and must never be reached from anywhere else.
package channeltest
