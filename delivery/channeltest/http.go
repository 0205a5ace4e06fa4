package channeltest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Received is a message as a service got it.
type Received struct {
	Path   string
	Header http.Header
	Body   []byte
}

// Answer is what a service says instead of taking a message.
type Answer struct {
	Status     int
	Body       string
	RetryAfter string // the header; empty: none
}

// inbox keeps what came, and hands out the answers that were asked for.
type inbox struct {
	mu       sync.Mutex
	received []Received
	answers  []Answer
}

// Say makes the service answer the next messages so, one each, instead of taking them.
func (b *inbox) Say(answers ...Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, answers...)
}

// Received gives what came so far, whatever was answered.
func (b *inbox) Received() []Received {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Received(nil), b.received...)
}

func (b *inbox) take(r *http.Request, body []byte) (Answer, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.received = append(b.received, Received{r.URL.Path, r.Header.Clone(), body})
	if len(b.answers) == 0 {
		return Answer{}, false
	}
	a := b.answers[0]
	b.answers = b.answers[1:]
	return a, true
}

func (a Answer) write(w http.ResponseWriter) {
	if a.RetryAfter != "" {
		w.Header().Set("Retry-After", a.RetryAfter)
	}
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, a.Body)
}

// most is what the services read of a message, in bytes.
const most = 1 << 20

// Slack is Slack's end of incoming webhooks: it answers ok, or a status with a word that says what is wrong.
type Slack struct{ inbox }

// SlackPath is the one webhook that there is.
const SlackPath = "/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx"

func (s *Slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, most))
	if err != nil {
		return
	}
	if a, ok := s.take(r, body); ok {
		a.write(w)
		return
	}
	status, word := checkSlack(r, body)
	Answer{Status: status, Body: word}.write(w)
}

func checkSlack(r *http.Request, body []byte) (status int, word string) {
	var m struct {
		Text   string
		Blocks []struct {
			Type string
			Text *struct{ Type, Text string }
		}
	}
	switch {
	case r.Method != http.MethodPost:
		return http.StatusBadRequest, "invalid_payload"
	case r.URL.Path != SlackPath:
		return http.StatusNotFound, "no_service"
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"), json.Unmarshal(body, &m) != nil:
		return http.StatusBadRequest, "invalid_payload"
	case m.Text == "" && len(m.Blocks) == 0:
		return http.StatusBadRequest, "no_text"
	case len(m.Blocks) > 50:
		return http.StatusBadRequest, "invalid_blocks"
	}
	for _, b := range m.Blocks {
		limit := 3000
		if b.Type == "header" {
			limit = 150
		}
		if b.Text != nil && (b.Text.Text == "" || len([]rune(b.Text.Text)) > limit) {
			return http.StatusBadRequest, "invalid_blocks"
		}
	}
	return http.StatusOK, "ok"
}

// Telegram is Telegram's Bot API as far as sendMessage goes, for one bot and one chat.
type Telegram struct {
	inbox
	Token string
	Chat  string
}

func (t *Telegram) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, most))
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if a, ok := t.take(r, body); ok {
		a.write(w)
		return
	}
	status, why := t.check(r, body)
	if status != http.StatusOK {
		answer, _ := json.Marshal(map[string]any{"ok": false, "error_code": status, "description": why}) // always fits
		Answer{Status: status, Body: string(answer)}.write(w)
		return
	}
	Answer{Status: status, Body: `{"ok":true,"result":{"message_id":1}}`}.write(w)
}

func (t *Telegram) check(r *http.Request, body []byte) (status int, why string) {
	var m struct {
		ChatID    string `json:"chat_id"`
		Text      string `json:"text"`
		ParseMode string `json:"parse_mode"`
	}
	switch {
	case r.URL.Path != "/bot"+t.Token+"/sendMessage":
		return http.StatusUnauthorized, "Unauthorized" //nolint:misspell // it is how Telegram says it
	case json.Unmarshal(body, &m) != nil || m.ChatID != t.Chat:
		return http.StatusBadRequest, "Bad Request: chat not found"
	case m.Text == "":
		return http.StatusBadRequest, "Bad Request: message text is empty"
	}
	text, ok := TelegramText(m.Text)
	if m.ParseMode != "HTML" || !ok {
		return http.StatusBadRequest, "Bad Request: can't parse entities"
	}
	if utf16(text) > 4096 {
		return http.StatusBadRequest, "Bad Request: message is too long"
	}
	return http.StatusOK, ""
}

func utf16(s string) (n int) {
	for _, r := range s {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

// TelegramText is what a message in Telegram's HTML shows. It knows the elements b, code and pre, which don't stand in
// each other; false: the message has something else in it.
func TelegramText(s string) (text string, ok bool) {
	var out strings.Builder
	open := ""
	for s != "" {
		at := strings.IndexAny(s, "<>")
		if at < 0 {
			out.WriteString(s)
			break
		}
		out.WriteString(s[:at])
		name, rest, closed := strings.Cut(s[at:], ">")
		if !closed || !strings.HasPrefix(name, "<") {
			return "", false
		}
		switch name = name[1:]; {
		case open == "" && (name == "b" || name == "code" || name == "pre"):
			open = name
		case open != "" && name == "/"+open:
			open = ""
		default:
			return "", false
		}
		s = rest
	}
	unescaped := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&amp;", "&").Replace(out.String())
	return unescaped, open == ""
}
