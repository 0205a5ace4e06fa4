package delivery

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"hookledger/delivery/channeltest"
	"hookledger/domain"
	"hookledger/vault"
)

var updateMessages = flag.Bool("update", false, "write the golden files of messages anew")

// channel is a destination with a real server of its protocol: all of them pass the same suite.
type channel struct {
	kind string
	// open starts the service, and gives what the endpoint needs to reach it. The address of another server may be given,
	// which the endpoint then reaches in place of the service.
	open func(t *testing.T, at string) *opened
	// yes, later and never are ways to answer: taken, to be tried again, and the last word.
	later, never []func(*opened)
	// status of a yes.
	yes int
}

type opened struct { // a service that runs
	config func(*domain.EndpointConfig)
	secret string
	egress EgressConfig
	got    func() [][]byte // the messages that the service read, as they came
	shown  func(raw []byte) string

	slack    *channeltest.Slack
	telegram *channeltest.Telegram
	mail     *channeltest.Mail
}

const botToken = "123456:AAcanary-token"

func httpService(t *testing.T, at string, h http.Handler) string {
	if at != "" {
		return "http://" + at
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func httpConfig(kind, url, content string) func(*domain.EndpointConfig) {
	scheme, host, _, _ := domain.ParseTarget(url)
	return func(c *domain.EndpointConfig) {
		c.Kind, c.Scheme, c.Host = kind, scheme, host
		c.Content = &domain.Sealed{KeyID: "dk", Ciphertext: []byte(content), Nonce: c.Content.Nonce}
	}
}

func answers(status int, body string) func(*opened) {
	return answersWith(channeltest.Answer{Status: status, Body: body})
}

func answersWith(a channeltest.Answer) func(*opened) {
	return func(o *opened) {
		if o.slack != nil {
			o.slack.Say(a)
		} else {
			o.telegram.Say(a)
		}
	}
}

func refuse(step string, code int) func(*opened) {
	return func(o *opened) {
		said := false // once
		o.mail.Refuse = func(at string) *smtp.SMTPError {
			if at != step || said {
				return nil
			}
			said = true
			return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 7, 1}, Message: "refused by the test"}
		}
	}
}

func bodies(received []channeltest.Received) (out [][]byte) {
	for _, r := range received {
		out = append(out, r.Body)
	}
	return out
}

var channels = []channel{
	{kind: domain.EndpointSlack, yes: 200,
		open: func(t *testing.T, at string) *opened {
			o := &opened{slack: &channeltest.Slack{}, shown: shownBySlack}
			url := httpService(t, at, o.slack)
			o.config = httpConfig(domain.EndpointSlack, url, fmt.Sprintf(`{"path":%q}`, channeltest.SlackPath))
			o.got = func() [][]byte { return bodies(o.slack.Received()) }
			return o
		},
		later: []func(*opened){answersWith(channeltest.Answer{Status: 429, RetryAfter: "30", Body: "rate_limited"}),
			answers(500, "rollup_error"), answers(200, "<html>hello</html>"),
			answers(204, ""), answers(404, "<html>not Slack's</html>"),
			answers(302, "no_service"), answers(408, "timeout")},
		never: []func(*opened){answers(404, "no_service"),
			answers(400, "invalid_payload"), answers(403, "action_prohibited\n"),
			answers(410, "channel_is_archived")},
	},
	{kind: domain.EndpointTelegram, yes: 200,
		open: func(t *testing.T, at string) *opened {
			o := &opened{telegram: &channeltest.Telegram{Token: botToken, Chat: "-1001"}, secret: botToken,
				shown: shownByTelegram}
			url := httpService(t, at, o.telegram)
			o.config = httpConfig(domain.EndpointTelegram, url, `{"path":"/","chat":"-1001"}`)
			o.got = func() [][]byte { return bodies(o.telegram.Received()) }
			return o
		},
		later: []func(*opened){
			answers(429, `{"ok":false,"error_code":429,"parameters":{"retry_after":30}}`),
			answers(502, `{"ok":false,"error_code":502}`),
			answers(200, `{"ok":false}`), answers(200, `nonsense`),
			answers(403, `<html>a proxy's</html>`),
			answers(409, `{"ok":false,"error_code":409}`)},
		never: []func(*opened){
			answers(403, `{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}`),
			answers(401, `{"ok":false,"error_code":401,"description":"Not Found"}`),
			answers(400, `{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}`)},
	},
	{kind: domain.EndpointEmail, yes: 250,
		open: func(t *testing.T, at string) *opened {
			o := &opened{mail: &channeltest.Mail{Username: "robot", Password: "canary-password"}, secret: "canary-password",
				shown: shownByMail}
			if at == "" {
				var err error
				if at, err = o.mail.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = o.mail.Close() })
				o.egress.Roots = o.mail.Roots
			}
			o.config = func(c *domain.EndpointConfig) {
				c.Kind, c.Scheme, c.Host = domain.EndpointEmail, domain.SchemeSMTP, at
				c.Content = &domain.Sealed{KeyID: "dk", Nonce: c.Content.Nonce, Ciphertext: []byte(`{"path":"","email":{` +
					`"from":"hookledger <alerts@example.com>","to":"Ops <ops@example.org>","username":"robot"}}`)}
			}
			o.got = func() (out [][]byte) {
				for _, l := range o.mail.Letters() {
					if !l.TLS || l.From != "alerts@example.com" || l.To != "ops@example.org" {
						t.Errorf("a letter came from %q to %q, over TLS: %v", l.From, l.To, l.TLS)
					}
					out = append(out, l.Data)
				}
				return out
			}
			return o
		},
		later: []func(*opened){refuse("MAIL", 451), refuse("RCPT", 450), refuse("DATA", 452), refuse("AUTH", 454)},
		never: []func(*opened){refuse("MAIL", 550), refuse("RCPT", 550), refuse("DATA", 554), refuse("AUTH", 535)},
	},
}

// channelWorld is a world with one endpoint, at the channel.
func channelWorld(t *testing.T, c *channel, at string, change ...func(*domain.EndpointConfig)) (*world, *opened) {
	t.Helper()
	o := c.open(t, at)
	o.egress.Dev = true
	w := newWorld(t, func(cfg *Config) { cfg.Egress = o.egress })
	w.vault.secrets = map[string]*string{"cr_1": &o.secret}
	w.endpoint("ep", "http://placeholder/", append([]func(*domain.EndpointConfig){o.config,
		func(c *domain.EndpointConfig) {
			if o.secret != "" {
				c.Credential = &domain.VaultRef{KeyID: "cr_1"}
			}
		}}, change...)...)
	return w, o
}

// told is due with an event of its own.
func (w *world) told(body string) (delivery string) {
	delivery = w.due("ep")
	w.house.mu.Lock()
	defer w.house.mu.Unlock()
	event := fmt.Sprintf("evt_%06d", w.n)
	w.house.bodies[event] = domain.EventBody{Body: []byte(body), KeyID: "dk", Received: &domain.EventReceived{ID: event},
		At: time.Date(2026, 11, 26, 12, 0, 1, 0, time.UTC)}
	return delivery
}

// content opens what the last attempt was to send.
func (w *world) content(t *testing.T, delivery string) []byte {
	t.Helper()
	stream := domain.DeliveryStream("default", delivery)
	var out []byte
	for r := range w.store.ReadStream(t.Context(), stream, 0) {
		if f, ok := r.Fact.(*domain.AttemptStarted); ok {
			plain, err := w.vault.Open(t.Context(), vault.PlaceOf(r), f.Content)
			if err != nil {
				t.Fatal(err)
			}
			out = plain
		}
	}
	return out
}

func eachChannel(t *testing.T, test func(t *testing.T, c *channel)) {
	t.Helper()
	for i := range channels {
		t.Run(channels[i].kind, func(t *testing.T) {
			t.Parallel()
			test(t, &channels[i])
		})
	}
}

func envelope(event, data string) string {
	return fmt.Sprintf(`{"id":"evt_000001","event":%q,"timestamp":"2026-11-26T12:00:00Z","data":%s}`, event, data)
}

// TestDestinations_EachEventIsReadable holds what a channel shows for each event of the catalogue, and for one of a
// tenant's own, against golden files; what came is what the ledger says was sent.
func TestDestinations_EachEventIsReadable(t *testing.T) {
	t.Parallel()
	events := map[string]string{"order.paid": envelope("order.paid",
		`{"order":"o-1","total":12.50,"lines":[{"sku":"a"}]}`)}
	for _, typ := range append(domain.BuiltInEventTypes(), domain.OperationalEventTypes()...) {
		events[typ.Type] = envelope(typ.Type, string(typ.Example))
	}
	eachChannel(t, func(t *testing.T, c *channel) {
		for event, body := range events {
			w, o := channelWorld(t, c, "")
			d := w.told(body)
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			sameTypes(t, w.store.types(d), "DeliveryScheduled", "AttemptStarted", "ResponseReceived", "DeliverySucceeded")
			if f := find[*domain.ResponseReceived](t, w.store.facts(d)); f.Status != c.yes {
				t.Errorf("answered %d", f.Status)
			}
			got := o.got()
			if len(got) != 1 || !bytes.Equal(got[0], w.content(t, d)) {
				t.Fatalf("%d messages came; the first is %q, recorded is %q", len(got), got, w.content(t, d))
			}
			path := filepath.Join("testdata", "messages", c.kind, event+".txt")
			shown := o.shown(got[0])
			if *updateMessages {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(shown), 0o644); err != nil { //nolint:gosec // it is in the repository
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || string(want) != shown {
				t.Errorf("%s (%v) shows\n%s", event, err, shown)
			}
		}
	})
}

// TestDestinations_OutcomesAreDecided: taken, tried again, or final; and each attempt at an event says the same.
func TestDestinations_OutcomesAreDecided(t *testing.T) {
	t.Parallel()
	eachChannel(t, func(t *testing.T, c *channel) {
		for i, answer := range c.later {
			w, o := channelWorld(t, c, "")
			d := w.told(envelope("cron.completed", `{"jobId":"j1","runId":"r1","output":"done"}`))
			answer(o)
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			sameTypes(t, w.store.types(d), "DeliveryScheduled", "AttemptStarted", "ResponseReceived", "RetryScheduled")
			first, retry := w.content(t, d), find[*domain.RetryScheduled](t, w.store.facts(d))
			if c.kind != domain.EndpointEmail && i == 0 && (!retry.RetryAfterTaken ||
				time.Duration(retry.Backoff) != 30*time.Second) {
				t.Errorf("asked to come again in 30s, and the retry is %+v", retry)
			}
			w.write(d, func(s *domain.Delivery) []domain.Record {
				records, err := s.RequestRetry(w.stamp(), w.backlog.known[d], domain.RetryPolicy{}, false)
				if err != nil {
					t.Fatalf("answer %d: %v", i, err)
				}
				return records
			})
			w.again(d)
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			if s := w.state(d); s.Status != domain.StatusSucceeded || s.Attempts != 2 {
				t.Errorf("answer %d: it is %s after %d attempts", i, s.Status, s.Attempts)
			}
			if got := o.got(); !bytes.Equal(first, w.content(t, d)) || !bytes.Equal(first, got[len(got)-1]) {
				t.Errorf("answer %d: the attempts said\n%s\n%s", i, first, w.content(t, d))
			}
		}
		for i, answer := range c.never {
			w, o := channelWorld(t, c, "")
			d := w.told(envelope("cron.completed", `{"jobId":"j1"}`))
			answer(o)
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			sameTypes(t, w.store.types(d), "DeliveryScheduled", "AttemptStarted", "ResponseReceived", "DeliveryExhausted")
			if f := find[*domain.DeliveryExhausted](t, w.store.facts(d)); f.Reason != "rejected" {
				t.Errorf("answer %d: exhausted for %q", i, f.Reason)
			}
		}
	})
}

// TestDestinations_BadServers: who never answers, talks nonsense or talks without end is a failure with its code, of
// which nothing reached anybody, and the next attempt is scheduled.
func TestDestinations_BadServers(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct {
		name  string
		talk  func(net.Conn)
		codes []domain.ErrorCode
	}{
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, []domain.ErrorCode{domain.CodeTimeout}},
		{"nonsense", func(c net.Conn) { _, _ = io.WriteString(c, "what?\r\n\r\n") },
			[]domain.ErrorCode{domain.CodeBadResponse}},
		{"gone", func(net.Conn) {}, []domain.ErrorCode{domain.CodeReset}},
		{"endless", func(c net.Conn) {
			for line := bytes.Repeat([]byte("220-x"), 10_000); ; {
				if _, err := c.Write(line); err != nil {
					return
				}
			}
		}, []domain.ErrorCode{domain.CodeResponseTooLarge, domain.CodeBadResponse}},
	} {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			eachChannel(t, func(t *testing.T, c *channel) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				go func() {
					for {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						go func() {
							if c.kind != domain.EndpointEmail { // HTTP: the request is read before it is answered
								_, _ = http.ReadRequest(bufio.NewReader(conn))
							}
							bad.talk(conn)
							conn.Close()
						}()
					}
				}()
				w, _ := channelWorld(t, c, l.Addr().String(), func(c *domain.EndpointConfig) {
					if bad.name == "silent" {
						c.Timeout = domain.Duration(100 * time.Millisecond)
					}
				})
				d := w.told(envelope("cron.completed", `{"jobId":"j1"}`))
				if _, err := w.turn("ep"); err != nil {
					t.Fatal(err)
				}
				sameTypes(t, w.store.types(d), "DeliveryScheduled", "AttemptStarted", "AttemptFailed", "RetryScheduled")
				f := find[*domain.AttemptFailed](t, w.store.facts(d))
				fits := false
				for _, code := range bad.codes {
					fits = fits || f.Code == code
				}
				if !fits || c.kind == domain.EndpointEmail && f.Sent != domain.SentNo {
					t.Errorf("failed with %s in %s, sent %s: %s", f.Code, f.Phase, f.Sent, f.Content.Ciphertext)
				}
			})
		})
	}
}

// shownBySlack is a message as its blocks say it.
func shownBySlack(raw []byte) string {
	var m struct {
		Text   string
		Blocks []struct {
			Type     string
			Text     *slackText
			Elements []slackText
		}
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "text: %s\n", m.Text)
	for _, block := range m.Blocks {
		if block.Text != nil {
			fmt.Fprintf(&b, "--- %s, %s\n%s\n", block.Type, block.Text.Type, block.Text.Text)
		}
		for _, e := range block.Elements {
			fmt.Fprintf(&b, "--- %s, %s\n%s\n", block.Type, e.Type, e.Text)
		}
	}
	return b.String()
}

func shownByTelegram(raw []byte) string {
	var m telegramMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("to %s, %s\n%s\n", m.ChatID, m.ParseMode, m.Text)
}

func shownByMail(raw []byte) string {
	shown, err := channeltest.ShowMail(raw)
	if err != nil {
		return err.Error()
	}
	return shown
}
