package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hookledger/cmd/hookledger/receiver"
	"hookledger/domain"
)

// TestListenForwards: past events, then live ones, with a secret of its own that it prints; what the receiver answers
// is printed, and a receiver that is away is no end.
func TestListenForwards(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := startServer(t.Context(), serverConfig{DataDir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	env := []string{"HOOKLEDGER_SERVER=" + s.URL, "HOOKLEDGER_DATA_DIR=" + dir}
	send := func(id string) {
		t.Helper()
		r := runInBackground(t, env, "event", "send", "--example", "agent.status_changed", "--id", id)
		if code := <-r.code; code != exitOK {
			t.Fatalf("%d: %s", code, r.err)
		}
	}
	send("past")

	var mu sync.Mutex
	var keys []domain.Key
	var bad []string
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		err := domain.Verify(keys, r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"),
			r.Header.Get("webhook-signature"), body, now())
		if err != nil {
			bad = append(bad, err.Error())
		}
		_, _ = io.WriteString(w, "thanks for "+r.Header.Get("webhook-id"))
	}))
	defer local.Close()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	given, err := receiver.OneKey(domain.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	keys = given("/")
	l := runInBackground(t, append(env, "HOOKLEDGER_SECRET="+secret), "listen", "--forward-to", local.URL, "--since", "1h")
	l.out.await(t, `agent.status_changed +past +200 .*thanks for past`)
	send("live")
	l.out.await(t, `live +200 .*thanks for live`)
	if code := l.ended(t); code != exitOK {
		t.Errorf("%d: %s", code, l.err)
	}
	if strings.Contains(l.err.String()+l.out.String(), secret) || len(bad) > 0 {
		t.Errorf("%s%s%v", l.err, l.out, bad)
	}

	away := runInBackground(t, env, "listen", "--forward-to", "http://127.0.0.1:1/")
	own := away.err.await(t, `signing secret, of this run alone: (whsec_\S+)`)
	if _, err := domain.SigningKey(domain.NewSecret(own)); err != nil {
		t.Error(err)
	}
	away.err.await(t, `forwarding to`)
	send("lost")
	away.out.await(t, `lost +.*connection refused`)
	if code := away.ended(t); code != exitOK || strings.Contains(away.out.String(), "past") {
		t.Errorf("%d: %s", code, away.out)
	}
}
