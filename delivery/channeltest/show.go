package channeltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

// ShowSlack is a message as Slack shows it, without its formatting.
func ShowSlack(raw []byte) (string, error) {
	type text struct{ Text string }
	var m struct {
		Blocks []struct {
			Text     *text
			Elements []text
		}
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", err
	}
	var out []string
	for _, b := range m.Blocks {
		if b.Text != nil {
			b.Elements = append(b.Elements, *b.Text)
		}
		for _, t := range b.Elements {
			out = append(out, strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(t.Text))
		}
	}
	return strings.Join(out, "\n"), nil
}

// ShowTelegram is a message as Telegram shows it, without its formatting.
func ShowTelegram(raw []byte) (string, error) {
	var m struct{ Text string }
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", err
	}
	text, ok := TelegramText(m.Text)
	if !ok {
		return "", fmt.Errorf("the message is not in Telegram's HTML")
	}
	return text, nil
}

// ShowMail is a mail with its headers and text decoded.
func ShowMail(raw []byte) (string, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range []string{"From", "To", "Subject", "Date", "Message-Id", "Auto-Submitted", "Content-Type"} {
		v, err := (&mime.WordDecoder{}).DecodeHeader(m.Header.Get(name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s: %s\n", name, v)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		return "", err
	}
	return b.String() + "\n" + strings.ReplaceAll(string(text), "\r\n", "\n"), nil
}
