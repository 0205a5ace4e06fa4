package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hookledger/cmd/hookledger/apiclient"
)

// replayEvents is how many events the replay is of; `make replay` says 100,000.
func replayEvents(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("HOOKLEDGER_REPLAY_EVENTS"))
	if err != nil || n < 100 {
		n = 3000
	}
	t.Logf("%d events; HOOKLEDGER_REPLAY_EVENTS sets another number", n)
	return n
}

// witness is a receiver that counts: it is outside of the process that is killed.
type witness struct {
	mu       sync.Mutex
	original map[string][32]byte // what came at /old: the body by webhook-id
	again    map[string]int      // what came at /new with the replay's header, by webhook-id
	wrong    []string
}

func (w *witness) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	id, sum := r.Header.Get("webhook-id"), sha256.Sum256(body)
	replay := strings.Join(r.Header.Values("Webhook-Replay"), ",")
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case r.URL.Path == "/old" && replay == "":
		w.original[id] = sum
	case r.URL.Path == "/new" && replay == "rpl_all" && w.original[id] == sum:
		w.again[id]++
	case r.URL.Path == "/new" && replay == "" && strings.HasPrefix(id, "live-"):
	default:
		w.wrong = append(w.wrong, fmt.Sprintf("%s at %s, marked %q", id, r.URL.Path, replay))
	}
}

func (w *witness) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.again)
}

// TestSIGKILLTwiceInAReplayLosesAndRepeatsNothing: a replay into a new endpoint, whose server is killed twice: each
// planned event arrives, with its id and its bytes, marked, and once, but for attempts of which a kill left nobody
// knowing whether they had been sent: the ledger says which.
func TestSIGKILLTwiceInAReplayLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	events := replayEvents(t)
	seen := &witness{original: map[string][32]byte{}, again: map[string]int{}}
	receiver := httptest.NewServer(seen)
	t.Cleanup(receiver.Close)
	dir, address := t.TempDir(), freeAddress(t)
	n := startNode(t, dir, address)
	endpoint := func(path string, types ...string) (id string) {
		var e apiclient.Endpoint
		into(t, n.must(http.MethodPost, "/v1/endpoints", map[string]any{"url": receiver.URL + path, "event_types": types,
			"retry_schedule": []string{"0s", "0s"}}), &e)
		return e.ID
	}
	old := endpoint("/old", "agent.status_changed")
	for from := 0; from < events; from += 500 {
		var batch []json.RawMessage
		for i := from; i < min(from+500, events); i++ {
			batch = append(batch, fmt.Appendf(nil, `{"id":"e-%06d","event":"agent.status_changed",`+
				`"data":{"agentId":"a%d","from":"online","to":"offline"}}`, i, i))
		}
		n.must(http.MethodPost, "/v1/events/batch", batch)
	}
	n.awaitTerminal(t)
	target := endpoint("/new", "agent.budget_alert")
	ask := map[string]any{"id": "rpl_all", "select": map[string]any{"endpoint_ids": []string{old}}, "endpoint_id": target,
		"max_deliveries": events}
	state := func(method, path string, body any) (r apiclient.Replay) {
		t.Helper()
		var err error
		c := n.client(t)
		if method == http.MethodGet {
			err = c.Get(t.Context(), path, nil, &r)
		} else {
			err = c.Post(t.Context(), path, body, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	plan := state(http.MethodPost, "/v1/replays", ask)
	if plan.Planned != events {
		t.Fatalf("%d are planned", plan.Planned)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	until := func(done func() bool) {
		t.Helper()
		for !done() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("it stands at %d of %d:\n%s", seen.count(), events, n.log)
			}
		}
	}
	for kill := 1; kill <= 2; kill++ {
		until(func() bool { return seen.count() >= kill*events/3 })
		n.kill()
		n = startNode(t, dir, address)
		if again := state(http.MethodPost, "/v1/replays", ask); again.ID != plan.ID || again.Digest != plan.Digest {
			t.Errorf("asked again: %+v", again)
		}
	}
	last := apiclient.Replay{}
	until(func() bool {
		last = state(http.MethodGet, "/v1/replays/rpl_all", nil)
		return last.CompletedAt != nil
	})
	if last.Status != "completed" || last.Delivered != events || last.Failed != 0 || len(last.Skipped) != 0 {
		t.Errorf("%+v", last)
	}
	unknown := bytes.Count(n.must(http.MethodGet, "/v1/records?after=0&type=AttemptInterrupted", nil), []byte("\n"))
	seen.mu.Lock()
	defer seen.mu.Unlock()
	repeated := 0
	for id, times := range seen.again {
		repeated += times - 1
		if _, ok := seen.original[id]; !ok {
			t.Errorf("%s was never posted", id)
		}
	}
	if len(seen.again) != events || len(seen.wrong) > 0 || repeated > unknown {
		t.Errorf("%d of %d arrived; %d repeated, where %d attempts were interrupted; %v", len(seen.again), events, repeated,
			unknown, seen.wrong)
	}
	t.Logf("%d events arrived; %d repeated by %d interrupted attempts", len(seen.again), repeated, unknown)
	n.stop(t)
}

func into(t *testing.T, raw []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
}
