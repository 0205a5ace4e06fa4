package delivery

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"hookledger/domain"
)

// recorded is all that the ledger holds of a delivery, opened.
func (w *world) recorded(t *testing.T, id string) string {
	t.Helper()
	var out strings.Builder
	for _, f := range w.store.facts(id) {
		raw, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(raw)
		switch f := f.(type) {
		case *domain.ResponseReceived:
			var content domain.ResponseContent
			if err := json.Unmarshal(f.Content.Ciphertext, &content); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s %v", content.Body, content.Headers)
		case *domain.AttemptFailed:
			out.Write(f.Content.Ciphertext)
		}
	}
	return out.String()
}

// TestWhatAReceiverRepeatsOfItsDemandsIsRecordedNowhere: one that shows the request in its answer, as many do to
// whoever tries them out, or whose answer can't be read. What is too short to be a secret stays as it came.
func TestWhatAReceiverRepeatsOfItsDemandsIsRecordedNowhere(t *testing.T) {
	t.Parallel()
	const password = "n8n:canary-password"
	basic := base64.StdEncoding.EncodeToString([]byte(password))
	for name, answer := range map[string]http.HandlerFunc{
		"in the body": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(r.Header)
			_, login, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			plain, _ := base64.StdEncoding.DecodeString(login)
			fmt.Fprintf(w, "who is %s, that is %s, in-%s?", login, plain, r.Header.Get("X-Env"))
		},
		"in headers": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Was", r.Header.Get("Authorization"))
			w.Header().Add("X-Was", "it was "+r.Header.Get("X-Api-Key")+" in-"+r.Header.Get("X-Env")+"?")
		},
		"in what is no answer": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 %s;in-%s?\r\n\r\n", r.Header.Get("X-Api-Key"), r.Header.Get("X-Env"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(answer)
			defer srv.Close()
			w := newWorld(t)
			w.endpoint("ep", srv.URL, func(c *domain.EndpointConfig) {
				c.Headers = []domain.SecretHeader{{Name: "X-Api-Key", Value: w.vault.giveSecret("cr_1", "canary-value")},
					{Name: "X-Env", Value: w.vault.giveSecret("cr_2", "prod")}}
				c.Auth = &domain.ReceiverAuth{Type: domain.AuthBasic, Value: w.vault.giveSecret("cr_3", "Basic "+basic)}
			})
			id := w.due("ep")
			if _, err := w.turn("ep"); err != nil {
				t.Fatal(err)
			}
			text := w.recorded(t, id)
			if strings.Contains(text, "canary") || strings.Contains(text, basic) {
				t.Errorf("a secret stands in %s", text)
			}
			if !strings.Contains(text, "[redacted]") || !strings.Contains(text, "in-prod?") {
				t.Errorf("the answer is recorded as %s", text)
			}
		})
	}
}

// TestWhatAMailServerRepeatsOfTheLoginIsRecordedNowhere: servers quote the command that they refuse, where the password
// stands as the login writes it.
func TestWhatAMailServerRepeatsOfTheLoginIsRecordedNowhere(t *testing.T) {
	t.Parallel()
	w, o := channelWorld(t, &channels[2], "")
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + o.mail.Username + "\x00" + o.secret))
	login := base64.StdEncoding.EncodeToString([]byte(o.secret))
	o.mail.Refuse = func(step string) *smtp.SMTPError {
		if step != "AUTH" {
			return nil
		}
		return &smtp.SMTPError{Code: 501, EnhancedCode: smtp.EnhancedCode{5, 5, 2}, Message: "what is AUTH PLAIN " + plain +
			", or " + login + ", or " + o.secret + "?"}
	}
	id := w.told(envelope("cron.completed", `{"jobId":"j1"}`))
	if _, err := w.turn("ep"); err != nil {
		t.Fatal(err)
	}
	text := w.recorded(t, id)
	for _, secret := range []string{plain, login, o.secret} {
		if strings.Contains(text, secret) {
			t.Errorf("%s stands in %s", secret, text)
		}
	}
	if !strings.Contains(text, "AUTH PLAIN [redacted], or [redacted], or [redacted]?") {
		t.Errorf("the answer is recorded as %s", text)
	}
}

// TestRedact: however a secret is written, also where one begins with another, and where its end was cut off.
func TestRedact(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"12345678":                         "[redacted]",
		"12345678tail&rest.":               "[redacted].",
		`{"was":"12345678tail\u0026rest"}`: `{"was":"[redacted]"}`,
		`quo\"te<d and quo"te<d`:           "[redacted] and [redacted]",
		"a b c":                            "a b c",
		"":                                 "",
		"cut off: 12345678tail&re":         "cut off: [redacted]",
		`{"h":"abcd\/efgh"}`:               `{"h":"[redacted]"}`,
		"cut off: test-key-test":           "cut off: [redacted]",
		"cut off: 1234":                    "cut off: [redacted]",
		"cut off: 123":                     "cut off: 123",
	} {
		r := &result{body: newBuffer(), truncated: strings.HasPrefix(body, "cut off")}
		r.body.b = append(r.body.b, body...)
		r.redact(newRedactor(domain.NewSecret("12345678"), domain.NewSecret("12345678tail&rest"),
			domain.NewSecret(`quo"te<d`), domain.NewSecret("abcd/efgh"), domain.NewSecret("test-key-test"),
			domain.NewSecret("b")))
		if string(r.body.b) != want {
			t.Errorf("%q became %q, want %q", body, r.body.b, want)
		}
		if cap(r.body.b) < firstBuffer {
			t.Errorf("the buffer of %q has %d bytes left when it is used again", body, cap(r.body.b))
		}
	}
}

// TestABufferWithoutRoomIsFilled: a read into nothing gives nothing, for ever.
func TestABufferWithoutRoomIsFilled(t *testing.T) {
	t.Parallel()
	b := &buffer{}
	if done, err := b.fill(strings.NewReader("thanks"), 100); !done || err != nil || string(b.b) != "thanks" {
		t.Errorf("%v, %v: %q", done, err, b.b)
	}
}

// TestARedactedAnswerIsNoLongerThanAnother, though what stands for a secret is longer.
func TestARedactedAnswerIsNoLongerThanAnother(t *testing.T) {
	t.Parallel()
	r := &result{body: newBuffer()}
	r.body.b = append(r.body.b, strings.Repeat("12345678", domain.MaxResponseContent/8)...)
	r.redact(newRedactor(domain.NewSecret("12345678")))
	if len(r.body.b) != domain.MaxResponseContent || !r.truncated || strings.Contains(string(r.body.b), "1") {
		t.Errorf("%d bytes, truncated %v: %.20s", len(r.body.b), r.truncated, r.body.b)
	}
}
