package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"hookledger/domain"
)

// email is a mailbox behind an SMTP server, which must offer STARTTLS: what a mail says, and the login, cross no
// network in the clear. The content of an attempt is the whole mail; the answer is the server's last reply.
type email struct{}

var _ destination = email{}

const (
	maxSubject = 150 // characters
	methodMail = "MAIL"
)

func (email) prepare(o order, p *prepared) error {
	to := p.target.content.Email
	if to == nil {
		return errors.New("the endpoint's addresses are missing")
	}
	m := noticeOf(o.event.Body, o.mark)
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	if err := errors.Join(msg.From(to.From), msg.To(to.To)); err != nil {
		return errors.New("the endpoint's addresses can't be read")
	}
	id := messageID(o.due.Event, o.endpoint.ID, to.From)
	msg.SetMessageIDWithValue(id)
	msg.SetDateWithValue(o.event.At.UTC()) // the event's, as the Message-ID: each attempt sends the same mail
	msg.Subject(cut(m.heading(), maxSubject, func(rune) int { return 1 }))
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's machine is to answer it
	msg.SetGenHeader("Hookledger-Event", o.due.Event)
	if o.mark != "" {
		msg.SetGenHeader(domain.HeaderWebhookReplay, o.mark)
	}
	msg.SetBodyString(gomail.TypeTextPlain, emailText(m))
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return fmt.Errorf("write the mail: %w", err)
	}
	p.method, p.body, p.content = methodMail, b.Bytes(), b.Bytes()
	p.headers = []domain.Header{{Name: "Message-ID", Value: "<" + id + ">"}}
	return nil
}

// messageID is the same for each attempt at an event, so that a server which took a mail whose reply was lost can know
// it when it comes again.
func messageID(event, endpoint, from string) string {
	host := "hookledger"
	if a, err := mail.ParseAddress(from); err == nil {
		host = a.Address[strings.LastIndexByte(a.Address, '@')+1:]
	}
	sum := sha256.Sum256([]byte(endpoint))
	return event + "." + hex.EncodeToString(sum[:6]) + "@" + host
}

func emailText(m *notice) string {
	var b strings.Builder
	b.WriteString(m.heading() + "\n\n")
	width := 0
	for _, r := range m.rows {
		width = max(width, len([]rune(r.label)))
	}
	for _, r := range m.rows {
		fmt.Fprintf(&b, "%-*s  %s\n", width+1, r.label+":", r.value)
	}
	if m.output != "" {
		b.WriteString("\n" + m.output + "\n")
	}
	b.WriteString("\n-- \n" + m.event + " " + m.id + ", " + stamp(m.at) + "\n")
	return b.String()
}

// judge: an SMTP reply has the classes of HTTP that matter here. 2xx is taken, 4xx is retried, 5xx is final.
func (email) judge(r *result) verdict {
	if r.status >= 500 {
		return rejected
	}
	return byStatus
}

// send hands the mail over on a connection of its own. The attempt's time, and ctx, end it.
func (email) send(parent context.Context, s *sender, p *prepared) (r *result) {
	r = &result{}
	ctx, cancel := context.WithTimeout(parent, p.timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	ctx, w := watch(ctx, deadline, false)
	t := &mailing{sender: s, p: p, w: w, step: phaseConnect}
	defer func() {
		if v := recover(); v != nil {
			t.fail(r, newPanicked(v))
			r.code = domain.CodeInternal
		}
		t.close()
		r.redact(newRedactor(loginSecrets(p.target)...))
	}()
	reply, err := t.deliver(ctx)
	if no := (*smtpReply)(nil); errors.As(err, &no) {
		reply, err = no, nil
	}
	if err != nil {
		t.fail(r, cause(ctx, err))
		return r
	}
	r.status, r.body = reply.code, newBuffer()
	r.body.b = append(r.body.b, reply.text...)
	r.tls, r.remote, r.timings = t.tls, w.remote(), w.timings()
	r.timings.TLS, r.timings.FirstByte = t.tlsTook.Microseconds(), t.replied.Microseconds()
	return r
}

// smtpReply is what an SMTP server answered: as an error, a no.
type smtpReply struct {
	code int
	text string
}

func (e *smtpReply) Error() string { return fmt.Sprintf("the server answered %d %s", e.code, e.text) }

// asReply makes the server's no of an error that is one; other errors stay as they are.
func asReply(err error) error {
	var no *textproto.Error
	if errors.As(err, &no) && no.Code >= 400 && no.Code < 600 {
		return &smtpReply{no.Code, no.Msg}
	}
	return err
}

// maxSMTP bounds what is read of a server in one attempt, TLS handshake included, in bytes.
const maxSMTP = 256 << 10

var errSMTPTooLong = errors.New("the server's replies are longer than 256 KiB")

// mailing is one mail on its way.
type mailing struct {
	sender  *sender
	p       *prepared
	w       *wire
	step    phase
	begun   bool // of the mail itself, something may have been written
	conn    *smtpConn
	client  *smtp.Client
	tls     *domain.TLSFacts
	tlsTook time.Duration
	replied time.Duration // from the start to the server's last reply
	stop    func() bool
}

// smtpConn is the connection, of which only so much is read.
type smtpConn struct {
	*conn
	left int
}

func (c *smtpConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errSMTPTooLong
	}
	n, err := c.conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

func (t *mailing) close() {
	if t.stop != nil {
		t.stop()
	}
	if t.conn != nil {
		_ = t.conn.Close() // the outcome is known
	}
}

// fail makes the result one of a failed attempt. Only of the mail itself may something have reached the receiver.
func (t *mailing) fail(r *result, err error) {
	if r.fail(err, t.w); t.w.conn != nil {
		r.phase = t.step
		r.code = classify(err, &r.phase)
	}
	if errors.Is(err, errSMTPTooLong) {
		r.code = domain.CodeResponseTooLarge
	}
	if r.sent = domain.SentNo; t.begun {
		r.sent = domain.SentMaybe
	}
}

// deliver goes through the whole conversation. It gives the reply to the mail, or a *smtpReply as the error where the
// server says no.
func (t *mailing) deliver(ctx context.Context) (*smtpReply, error) {
	if err := t.connect(ctx); err != nil {
		return nil, err
	}
	host := t.p.target.url.Hostname()
	t.step = phaseResponse // of the greeting
	var err error
	if t.client, err = smtp.NewClient(t.conn, host); err != nil {
		return nil, asReply(err)
	}
	t.client.SkipSMTPUTF8(true) // the mail is ASCII as it is written, and so are the addresses
	if err := t.client.Hello(localName(t.conn)); err != nil {
		return nil, asReply(err)
	}
	if err := t.encrypt(host); err != nil {
		return nil, err
	}
	t.step = phaseRequest
	if err := t.login(host); err != nil {
		return nil, err
	}
	to := t.p.target.content.Email
	if err := t.client.Mail("<" + bareAddress(to.From) + ">"); err != nil {
		return nil, asReply(err)
	}
	if err := t.client.Rcpt("<" + bareAddress(to.To) + ">"); err != nil {
		return nil, asReply(err)
	}
	return t.data()
}

func (t *mailing) connect(ctx context.Context) error {
	raw, err := t.sender.dial(ctx, "tcp", t.p.target.url.Host)
	if err != nil {
		return err
	}
	c, ok := raw.(*conn)
	if !ok {
		return errors.New("the dialer gave a connection of another type")
	}
	t.conn = &smtpConn{conn: c, left: maxSMTP}
	t.w.conn, t.w.fresh = c, true
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	t.stop = context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return nil
}

var errNoSTARTTLS = errors.New("the server offers no STARTTLS: nothing is sent in the clear; use one that does, on its " +
	"port for submission, mostly 587")

func (t *mailing) encrypt(host string) error {
	t.step = phaseTLS
	if ok, _ := t.client.Extension("STARTTLS"); !ok {
		return errNoSTARTTLS
	}
	start := time.Now()
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: t.sender.roots}
	if err := t.client.StartTLS(cfg); err != nil {
		return asReply(err)
	}
	t.tlsTook = time.Since(start)
	if state, ok := t.client.TLSConnectionState(); ok {
		t.tls = t.conn.tlsFacts(&state)
	}
	return nil
}

// login logs in where the endpoint has a username, over TLS as everything here.
func (t *mailing) login(host string) error {
	user := t.p.target.content.Email.Username
	if user == "" {
		return nil
	}
	_, offered := t.client.Extension("AUTH")
	password := t.p.target.secret.Reveal()
	auth := smtp.PlainAuth("", user, password, host, false)
	switch mechanisms := strings.Fields(strings.ToUpper(offered)); {
	case slices.Contains(mechanisms, "PLAIN"):
	case slices.Contains(mechanisms, "LOGIN"):
		auth = smtp.LoginAuth(user, password, host, false)
	default:
		return errors.New("the server offers no login with PLAIN or LOGIN")
	}
	return asReply(t.client.Auth(auth))
}

func (t *mailing) data() (*smtpReply, error) {
	body, err := t.client.Data()
	if err != nil {
		return nil, asReply(err)
	}
	t.begun = true
	if _, err := io.Copy(body, bytes.NewReader(t.p.body)); err != nil {
		return nil, err
	}
	t.step = phaseResponse
	if err := body.Close(); err != nil {
		return nil, asReply(err)
	}
	t.replied = time.Since(t.w.start)
	reply := &smtpReply{code: 250}
	if d, ok := body.(*smtp.DataCloser); ok {
		reply.text = d.ServerResponse()
	}
	_, _ = t.client.Text.Cmd("QUIT") // polite; nobody waits for what it says
	return reply, nil
}

// loginSecrets are the password, and what a login with LOGIN or PLAIN sends of it: servers quote commands.
func loginSecrets(t *target) []domain.Secret {
	password := t.secret.Reveal()
	if password == "" {
		return nil
	}
	var user string
	if t.content.Email != nil {
		user = t.content.Email.Username
	}
	encoded := func(s string) domain.Secret { return domain.NewSecret(base64.StdEncoding.EncodeToString([]byte(s))) }
	return []domain.Secret{t.secret, encoded("\x00" + user + "\x00" + password), encoded(password)}
}

// localName is what we greet with: the address that the server sees, which names nobody.
func localName(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		return "localhost"
	}
	if strings.Contains(host, ":") {
		return "[IPv6:" + host + "]"
	}
	return "[" + host + "]"
}

// bareAddress is an address without a name.
func bareAddress(s string) string {
	if a, err := mail.ParseAddress(s); err == nil {
		return a.Address
	}
	return s
}
