package projections

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// logged gives the lines of a log as "LEVEL message endpoint times", and empties it.
func logged(t *testing.T, b *bytes.Buffer) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(b.String()) {
		var l struct {
			Level, Msg, Tenant, Endpoint, Delivery, Event, Record string
			Times                                                 int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Tenant != ten || l.Record == "" || strings.Contains(l.Msg, "exhausted") && (l.Delivery == "" || l.Event == "") {
			t.Errorf("it does not say of what it is: %s", line)
		}
		out = append(out, fmt.Sprintf("%s %s %s %d", l.Level, l.Msg, l.Endpoint, l.Times))
	}
	b.Reset()
	return out
}

// Semantics: the log says which endpoint came to fail, which breaker opened, and which delivery is exhausted; of one
// endpoint one line of a kind a minute, with how many there were. What was before this life it does not tell again.
func TestSemantics_TheLogSaysWhatBecameOfEndpoints(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	dir := t.TempDir()
	l := newFakeLedger()
	l.policies = map[string]domain.RetryPolicy{ep1: {}}
	l.tenant(ten)
	l.endpoint(ten, ep1)
	p := l.opened(t, func(c *Config) { c.Dir, c.Logger = dir, slog.New(slog.NewJSONHandler(&log, nil)) })
	failed := func(n int) {
		for range n {
			d := l.post(ten, ep1)
			l.respond(d, l.begin(d), 503)
		}
		follow(t, l, p)
	}
	says := func(want ...string) {
		t.Helper()
		p.live.notices.flush()
		if got := logged(t, &log); !slices.Equal(got, want) {
			t.Errorf("the log says\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	const exhausted = "WARN a delivery is exhausted: nothing more is sent of it " + ep1
	failed(4)
	says(exhausted + " 0")
	failed(96)
	says("WARN an endpoint is failing "+ep1+" 0",
		"WARN an endpoint's breaker is open: what is due there is held "+ep1+" 0")
	p.live.notices.sweep(false)
	says()
	l.pass(noticeOnce)
	p.live.notices.sweep(false)
	says(exhausted + " 99")
	d := l.post(ten, ep1)
	l.deliver(d)
	l.configure(key1, &domain.EndpointDisabled{Reason: "manual"})
	l.configure(key1, &domain.EndpointEnabled{})
	follow(t, l, p)
	says("INFO an endpoint has recovered "+ep1+" 0", "INFO an endpoint's breaker is closed "+ep1+" 0",
		"WARN an endpoint is disabled: its deliveries are held "+ep1+" 0", "INFO an endpoint is enabled "+ep1+" 0")
	failed(1)
	p.live.notices.sweep(true)
	says(exhausted + " 1")
	for range 5 {
		l.pass(noticeOnce)
		p.live.notices.sweep(false)
	}
	if n := len(p.live.notices.counted); n != 0 {
		t.Errorf("%d are kept for ever", n)
	}

	failed(1)
	p.live.notices.flush()
	log.Reset()
	l.pass(time.Second)
	again, err := Open(t.Context(), Config{Dir: t.TempDir(), Store: l, Now: l.now,
		Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	follow(t, l, again)
	again.live.notices.flush()
	says()
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// However many endpoints have news, what is counted of them takes bounded memory.
func TestNoticesAreBounded(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	l := newFakeLedger()
	n := newNotices(slog.New(slog.NewJSONHandler(&log, nil)), l.now)
	for i := range maxNotices + 500 {
		n.say(noticeKey{endpoint: domain.EndpointKey{Tenant: ten, Endpoint: fmt.Sprint(i)}, says: "x"}, slog.LevelWarn)
	}
	if len(n.counted) != maxNotices+1 {
		t.Errorf("%d are counted", len(n.counted))
	}
	n.flush()
	if got := log.String(); !strings.Contains(got, fmt.Sprintf(`"times":%d`, maxNotices+1-maxLines)) ||
		strings.Count(got, "\n") != maxLines+1 {
		t.Errorf("of lines for which there is no room it says %s", got[strings.LastIndex(got[:len(got)-1], "\n")+1:])
	}
	log.Reset()
	n.sweep(true)
	if got := log.String(); !strings.Contains(got, `"times":499`) || strings.Count(got, "\n") != 1 ||
		!strings.Contains(got, fmt.Sprintf(`"endpoint":"%d"`, maxNotices+499)) {
		t.Errorf("what is over is said as %s", got)
	}
}

// stuck is a log that nobody reads.
type stuck struct {
	slog.Handler
	end chan struct{}
}

func (s *stuck) Handle(context.Context, slog.Record) error { <-s.end; return nil }

// A log that nobody reads any more holds up no fold: deliveries go on.
func TestNoticesWaitForNoLog(t *testing.T) {
	t.Parallel()
	log := &stuck{slog.NewJSONHandler(io.Discard, nil), make(chan struct{})}
	l := newFakeLedger()
	n := newNotices(slog.New(log), l.now)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.run(ctx) }()
	for i := range 2 * maxLines {
		n.say(noticeKey{endpoint: domain.EndpointKey{Tenant: ten, Endpoint: fmt.Sprint(i)}, says: "x"}, slog.LevelWarn)
	}
	end()
	close(log.end)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
