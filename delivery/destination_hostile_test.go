package delivery

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"hookledger/delivery/channeltest"
	"hookledger/domain"
)

// hostileTexts are what an AI, or who talks to it, may write to call people, to make links, or to break out.
var hostileTexts = []string{
	"<!channel> <!here> <!everyone> <@U012AB3CD> <#C012AB3CD> <!subteam^S012> <https://evil.example|your bank>",
	"@channel @here @everyone @admin",
	"</pre><a href=\"https://evil.example\">x</a><b>", "&lt;!channel&gt; &amp;lt;!here&amp;gt;",
	"<tg-spoiler>x</tg-spoiler><script>alert(1)</script>",
	"_*[x](https://evil.example)*_ ```",
	"\u202egnp.exe\u2066 \u200b\x00\x1b[31m\x07",
	"a\r\nBcc: everybody@example.com\r\n\r\nHello", "Subject: x\nTo: y\r\n.\r\nQUIT\r\n", ".\n..\n.\r\n",
	"\xff\xfe bad UTF-8",
	"</code></b></pre>", strings.Repeat("&", 6000), strings.Repeat("<", 9000), strings.Repeat("🤖", 5000),
	strings.Repeat("x ", 60_000),
	strings.Repeat("\n", 5000) + "x", strings.Repeat("@a ", 3000), "",
}

// TestDestinations_HostileText: whatever an event says, in each of its fields, the service takes the message: no
// mention, no link and no markup is made of it, no header of a mail is the event's, and every limit is kept.
func TestDestinations_HostileText(t *testing.T) {
	t.Parallel()
	eachChannel(t, func(t *testing.T, c *channel) {
		for i, hostile := range hostileTexts {
			quoted, _ := json.Marshal(hostile)
			for _, body := range []string{
				envelope("cron.completed", fmt.Sprintf(`{"jobId":%[1]s,"runId":%[1]s,"status":%[1]s,"output":%[1]s}`,
					quoted)),
				envelope("cron.failed", fmt.Sprintf(`{"jobId":%[1]s,"channel":%[1]s,"error":%[1]s}`, quoted)),
				envelope("agent.budget_alert", fmt.Sprintf(`{"agentId":%[1]s,"spent":1e999999999,"budget":%[1]s,`+
					`"period":%[1]s}`, quoted)),
				envelope("order.paid", fmt.Sprintf(`{%[1]s:%[1]s,"more":{"deep":%[1]s}}`, quoted)),
			} {
				w, o := channelWorld(t, c, "")
				d := w.told(body)
				if _, err := w.turn("ep"); err != nil {
					t.Fatal(err)
				}
				if s := w.state(d); s.Status != domain.StatusSucceeded {
					t.Fatalf("text %d: the delivery is %s: %v", i, s.Status, w.store.types(d))
				}
				got := o.got()
				if len(got) != 1 {
					t.Fatalf("text %d: %d messages", i, len(got))
				}
				harmless(t, c.kind, i, got[0], o.shown(got[0]))
			}
		}
	})
}

func harmless(t *testing.T, kind string, i int, raw []byte, shown string) {
	t.Helper()
	bad := []string{"\x00", "\x1b", "\u202e", "\u2066", "\u200b"}
	switch kind {
	case domain.EndpointSlack: // nothing but the entities begins with < in what Slack reads
		bad = append(bad, "<", "@channel", "@here", "@everyone", "@admin")
		if n := len([]rune(shown)); n > 12_000+600 {
			t.Errorf("text %d: %d characters", i, n)
		}
	case domain.EndpointTelegram: // the stand-in took it: it is b, code and pre, not in each other
		var m telegramMessage
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		bold := m.Text
		for _, tag := range []string{"code", "pre"} {
			for {
				from := strings.Index(bold, "<"+tag+">")
				to := strings.Index(bold, "</"+tag+">")
				if from < 0 {
					break
				}
				bold = bold[:from] + bold[to+len(tag)+3:]
			}
		}
		if strings.ContainsAny(bold, "@#&") || strings.Contains(bold, "evil") { // what Telegram would make links of
			t.Errorf("text %d: outside of code stands %q", i, bold)
		}
	case domain.EndpointEmail:
		head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
		for _, line := range strings.Split(head, "\r\n") {
			name, _, ok := strings.Cut(line, ":")
			switch {
			case strings.HasPrefix(line, " "): // goes on
			case !ok, !strings.Contains(" From To Subject Date Message-ID Auto-Submitted Content-Type "+
				"Content-Transfer-Encoding MIME-Version Hookledger-Event Webhook-Replay ", " "+name+" "):
				t.Errorf("text %d: a header %q", i, line)
			case len(line) > 998:
				t.Errorf("text %d: a line of %d bytes", i, len(line))
			}
		}
	}
	for _, b := range bad {
		if strings.Contains(shown, b) {
			t.Errorf("text %d: %q is in %.300q", i, b, shown)
		}
	}
}

// TestDestinations_SecretsAreRedacted: a service that repeats our secret gets it recorded nowhere.
func TestDestinations_SecretsAreRedacted(t *testing.T) {
	t.Parallel()
	eachChannel(t, func(t *testing.T, c *channel) {
		if c.kind == domain.EndpointSlack {
			return // its capability is the URL, which goes nowhere else
		}
		w, o := channelWorld(t, c, "")
		if o.telegram != nil {
			o.telegram.Say(channeltest.Answer{Status: 500, Body: "what is " + botToken + "?"})
		} else {
			refuse("MAIL", 451)(o)
			o.mail.Password = "another one"
		}
		d := w.told(envelope("cron.completed", `{"jobId":"j1"}`))
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
		for r := range w.store.ReadStream(t.Context(), domain.DeliveryStream("default", d), 0) {
			raw, err := json.Marshal(r.Fact)
			if err != nil {
				t.Fatal(err)
			}
			opened := string(raw)
			if f, ok := r.Fact.(*domain.ResponseReceived); ok {
				var content domain.ResponseContent
				if err := json.Unmarshal(f.Content.Ciphertext, &content); err != nil {
					t.Fatal(err)
				}
				opened += string(content.Body)
			}
			if strings.Contains(opened, o.secret) {
				t.Errorf("the secret stands in %s", opened)
			}
		}
	})
}

// TestDestinations_NoForbiddenAddress: the guard stands before every destination; nobody is connected to, and nothing
// was sent.
func TestDestinations_NoForbiddenAddress(t *testing.T) {
	t.Parallel()
	eachChannel(t, func(t *testing.T, c *channel) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		reached := make(chan struct{}, 10)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				reached <- struct{}{}
				conn.Close()
			}
		}()
		o := c.open(t, l.Addr().String())
		w := newWorld(t, func(cfg *Config) { cfg.Egress = EgressConfig{} }) // as a server without --dev
		w.vault.secrets = map[string]*string{"cr_1": &o.secret}
		w.endpoint("ep", "http://placeholder/", o.config, func(c *domain.EndpointConfig) {
			c.Credential = &domain.VaultRef{KeyID: "cr_1"}
		})
		d := w.told(envelope("cron.completed", `{"jobId":"j1"}`))
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
		f := find[*domain.AttemptFailed](t, w.store.facts(d))
		if f.Code != domain.CodeBlocked || f.Sent != domain.SentNo || len(reached) > 0 {
			t.Errorf("failed with %s, sent %s, reached %d times", f.Code, f.Sent, len(reached))
		}
	})
}

// TestEmail_NeedsTLS: without STARTTLS, or with a certificate that nobody vouches for, neither the mail nor the login
// leaves.
func TestEmail_NeedsTLS(t *testing.T) {
	t.Parallel()
	c := &channels[2]
	for name, want := range map[string]domain.ErrorCode{"no STARTTLS": domain.CodeTLS,
		"unknown CA": domain.CodeTLSUnknownCA} {
		server := &channeltest.Mail{Username: "robot", Password: "canary-password", NoTLS: name == "no STARTTLS"}
		at, err := server.Start()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		w, _ := channelWorld(t, c, at)
		d := w.told(envelope("cron.completed", `{"jobId":"j1"}`))
		if _, err := w.turn("ep"); err != nil {
			t.Fatal(err)
		}
		f := find[*domain.AttemptFailed](t, w.store.facts(d))
		if f.Code != want || f.Sent != domain.SentNo || f.Phase != "tls" || len(server.Letters()) > 0 {
			t.Errorf("%s: %s in %s, sent %s, %d letters: %s", name, f.Code, f.Phase, f.Sent, len(server.Letters()),
				f.Content.Ciphertext)
		}
	}
}
