package delivery

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Slack's limits of a message, in characters. slackTotal is below the about 12,000 that it takes in all.
const (
	slackHeader   = 150
	slackSection  = 3000
	slackTotal    = 11_000
	slackFallback = 1000 // of the line that notifications show; ours
)

// slack is an incoming webhook of Slack's: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
type slack struct{}

var _ destination = slack{}

// slackText is a text object. Verbatim keeps Slack from making links and mentions of what only looks like one.
type slackText struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackMessage struct {
	Text        string       `json:"text"` // what notifications show
	Mrkdwn      bool         `json:"mrkdwn"`
	Parse       string       `json:"parse"`
	LinkNames   bool         `json:"link_names"`
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
	Blocks      []slackBlock `json:"blocks"`
}

func (slack) prepare(o order, p *prepared) error {
	body, err := json.Marshal(slackMessageOf(noticeOf(o.event.Body, o.mark)))
	if err != nil {
		return err
	}
	p.body, p.content = body, body
	p.headers = plainHeaders("application/json; charset=utf-8", len(body))
	return nil
}

func slackMessageOf(m *notice) *slackMessage {
	heading := m.heading()
	out := &slackMessage{Text: slackEscape(cut(heading, slackFallback, slackSize)), Parse: "none"}
	add := func(b slackBlock) { out.Blocks = append(out.Blocks, b) }
	add(slackBlock{Type: "header", Text: &slackText{Type: "plain_text", Text: slackEscape(cut(heading, slackHeader,
		slackSize))}})
	left := slackTotal - 2*slackFallback
	var rows []string
	used := 0
	for _, r := range m.rows {
		written := "*" + slackEscape(r.label) + ":* " + slackEscape(r.value)
		if used += utf8.RuneCountInString(written) + 1; used > slackSection {
			break
		}
		rows = append(rows, written)
	}
	if len(rows) > 0 {
		add(slackBlock{Type: "section", Text: slackVerbatim(strings.Join(rows, "\n"))})
	}
	output := cut(m.output, left-min(used, slackSection), slackSize)
	for output != "" {
		part := output[:slackFits(output, slackSection)]
		output = output[len(part):]
		if strings.TrimSpace(part) != "" { // Slack refuses a section without text
			add(slackBlock{Type: "section", Text: slackVerbatim(slackEscape(part))})
		}
	}
	add(slackBlock{Type: "context", Elements: []slackText{*slackVerbatim(slackEscape(m.event + " · " + m.id + " · " +
		stamp(m.at)))}})
	return out
}

func slackVerbatim(text string) *slackText {
	return &slackText{Type: "mrkdwn", Text: text, Verbatim: true}
}

// slackEscapes are the characters of Slack's own syntax: a mention, a channel and a link all stand between < and >. An
// @ gets a character without width behind it, so that it calls nobody in clients that look for names themselves.
var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@"+wordJoiner)

const wordJoiner = "\u2060"

func slackEscape(s string) string { return slackEscapes.Replace(s) }

// slackSize is what a character counts for when it is escaped.
func slackSize(r rune) int {
	switch r {
	case '&':
		return len("&amp;")
	case '<', '>':
		return len("&lt;")
	case '@':
		return 2
	}
	return 1
}

// slackFits is how many bytes of s fit into limit characters, once escaped.
func slackFits(s string, limit int) int {
	for i, r := range s {
		if limit -= slackSize(r); limit < 0 {
			return i
		}
	}
	return len(s)
}

func (slack) send(ctx context.Context, s *sender, p *prepared) *result {
	p.setHeaders(0)
	return s.send(ctx, p)
}

// judge: Slack confirms with 200 and the two letters ok. A 4xx with one of its words, such as no_service or
// invalid_payload, will not change by itself; what has no such form is not Slack's own.
func (slack) judge(r *result) verdict {
	answer := ""
	if r.body != nil {
		answer = strings.TrimSpace(string(r.body.b))
	}
	switch {
	case r.status == http.StatusOK && answer == "ok":
		return byStatus
	case r.status >= 200 && r.status < 300:
		return unconfirmed
	case r.status >= 400 && r.status < 500 && r.status != http.StatusTooManyRequests &&
		r.status != http.StatusRequestTimeout && slackWord(answer):
		return rejected
	}
	return byStatus
}

// slackWord says whether an answer is one of Slack's error words.
func slackWord(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == ""
}
