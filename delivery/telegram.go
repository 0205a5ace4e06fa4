package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"hookledger/domain"
)

// telegramText is the most that a message of Telegram's holds, in UTF-16 units without its tags.
const telegramText = 4096

// telegram is a chat that a bot writes to: https://core.telegram.org/bots/api#sendmessage
type telegram struct{}

var _ destination = telegram{}

type telegramMessage struct {
	ChatID             string          `json:"chat_id"`
	Text               string          `json:"text"`
	ParseMode          string          `json:"parse_mode"`
	LinkPreviewOptions telegramPreview `json:"link_preview_options"`
}

type telegramPreview struct {
	IsDisabled bool `json:"is_disabled"`
}

func (telegram) prepare(o order, p *prepared) error {
	if p.target.secret.Empty() {
		return errors.New("the endpoint's bot token is missing")
	}
	body, err := json.Marshal(telegramMessage{ChatID: p.target.content.Chat, ParseMode: "HTML",
		Text: telegramHTML(noticeOf(o.event.Body, o.mark)), LinkPreviewOptions: telegramPreview{IsDisabled: true}})
	if err != nil {
		return err
	}
	p.body, p.content = body, body
	p.headers = plainHeaders("application/json", len(body))
	// The token is in the path: this URL is for the wire alone, and nothing that is recorded or said is made of it.
	p.url = p.target.url.JoinPath("bot"+p.target.secret.Reveal(), "sendMessage")
	return nil
}

// telegramHTML writes a message in Telegram's HTML. All that the event's sender chose stands in code or pre: there,
// Telegram makes no mention, link, hashtag or command of it.
func telegramHTML(m *notice) string {
	w := telegramWriter{left: telegramText}
	for _, s := range m.title {
		if s.quoted {
			w.tag("code", s.text, maxLine)
		} else {
			w.tag("b", s.text, maxLine)
		}
	}
	w.say("\n")
	foot := m.event + " · " + m.id + " · " + stamp(m.at)
	w.left -= utf16Length(foot) + 2
	for _, r := range m.rows {
		w.say("\n")
		w.tag("code", r.label, maxLine)
		w.say(": ")
		w.tag("code", r.value, maxLine)
	}
	if m.output != "" {
		w.say("\n")
		w.tag("pre", m.output, w.left)
	}
	w.left += utf16Length(foot) + 2
	w.say("\n\n")
	w.tag("code", foot, len(foot))
	return w.text.String()
}

// telegramWriter writes text until it is full.
type telegramWriter struct {
	text strings.Builder
	left int // UTF-16 units
}

var telegramEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// say writes text of our own.
func (w *telegramWriter) say(s string) {
	if n := utf16Length(s); n <= w.left {
		w.left -= n
		w.text.WriteString(s)
	}
}

// tag writes text as an element, cut to what there is room for.
func (w *telegramWriter) tag(name, s string, most int) {
	if w.left < 2 || s == "" {
		return
	}
	s = cut(s, min(most, w.left), utf16Size)
	w.left -= utf16Length(s)
	w.text.WriteString("<" + name + ">" + telegramEscapes.Replace(s) + "</" + name + ">")
}

func utf16Size(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}

func utf16Length(s string) (n int) {
	for _, r := range s {
		n += utf16Size(r)
	}
	return n
}

func (telegram) send(ctx context.Context, s *sender, p *prepared) *result {
	p.setHeaders(0)
	r := s.send(ctx, p)
	r.redact(newRedactor(p.target.secret))
	return r
}

// judge: Telegram answers with JSON whose ok is true or false. It says no for good with a 4xx of that form, such as 403
// for a bot that the user has blocked; when to come again stands in its parameters.
func (telegram) judge(r *result) verdict {
	var answer struct {
		OK         *bool `json:"ok"`
		Parameters struct {
			RetryAfter int64 `json:"retry_after"` // seconds
		} `json:"parameters"`
	}
	if r.body == nil || json.Unmarshal(r.body.b, &answer) != nil {
		answer.OK = nil
	}
	if n := answer.Parameters.RetryAfter; n > 0 && r.status >= 300 {
		r.retryAfter = max(r.retryAfter, time.Duration(min(n, int64(domain.MaxRetryAfter/time.Second)))*time.Second)
	}
	switch {
	case r.status >= 200 && r.status < 300:
		if answer.OK == nil || !*answer.OK {
			return unconfirmed
		}
	case answer.OK != nil && r.status >= 400 && r.status < 500 && r.status != http.StatusTooManyRequests &&
		r.status != http.StatusRequestTimeout && r.status != http.StatusConflict:
		return rejected
	}
	return byStatus
}
