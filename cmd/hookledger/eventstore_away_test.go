package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// A database that is away for a while, as in a restart, ends nothing: the node says so, takes no events for the time
// and names the fix; what was on its way arrives once the database is back.
func TestWhileEventStoreDBIsAway(t *testing.T) {
	t.Parallel()
	rng := testSeed(t)
	db := startESDB(t, 1, rng)
	o := &oracle{acked: map[string]bool{}, fail: rand.New(rand.NewPCG(rng.Uint64(), 1))}
	receiver := httptest.NewServer(o)
	defer receiver.Close()
	n := startNode(t, t.TempDir(), freeAddress(t), db.flags()...)
	n.must(http.MethodPost, "/v1/endpoints", map[string]any{"url": receiver.URL, "event_types": []string{"*"},
		"retry_schedule": []string{"3s", "1s", "1s", "1s", "1s", "1s", "1s", "1s"}})
	post := func(id string) (int, http.Header, []byte) {
		t.Helper()
		body := fmt.Sprintf(`{"id":%q,"event":"agent.status_changed","data":{"agentId":"a","from":"online","to":"offline"}}`,
			id)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url+"/v1/events", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+n.key)
		req.Header.Set("Hookledger-Tenant", "default")
		resp, err := httpClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, answer
	}
	for i := range 50 { // some will be in the middle of something
		if code, _, answer := post(fmt.Sprintf("before-%d", i)); code == http.StatusAccepted {
			o.acked[fmt.Sprintf("before-%d", i)] = true
		} else {
			t.Fatalf("%d %s", code, answer)
		}
	}
	db.tell("away")
	n.awaitReady(t, http.StatusServiceUnavailable, "EventStoreDB is not available (eventstore_address)")
	code, header, answer := post("while-away")
	var problem struct{ Code, Detail string }
	if err := json.Unmarshal(answer, &problem); err != nil {
		t.Fatal(err)
	}
	if code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" ||
		!strings.Contains(problem.Detail, "repeat the request") || strings.Contains(string(answer), "127.0.0.1") {
		t.Errorf("while it is away: %d, Retry-After %q, %s", code, header.Get("Retry-After"), answer)
	}
	db.tell("back")
	n.awaitReady(t, http.StatusOK, `"status":"ok"`)
	for done := false; !done; {
		code, _, answer := post("while-away")
		if done = code == http.StatusAccepted; !done && code != http.StatusServiceUnavailable {
			t.Fatalf("%d %s", code, answer)
		}
	}
	o.acked["while-away"] = true
	n.awaitTerminal(t)
	o.judge(t, n.records(t))
	n.stop(t)
}

// awaitReady waits for an answer of /readyz.
func (n *node) awaitReady(t *testing.T, status int, says string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for asked := 0; ; asked++ {
		code, answer, err := n.call(http.MethodGet, "/readyz", nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, n.log)
		}
		if code == status && strings.Contains(string(answer), says) {
			return
		}
		if asked == 3000 {
			t.Fatalf("/readyz says %d %s, and not %d %s", code, answer, status, says)
		}
		<-tick.C
	}
}

// What does not fit the ledger in EventStoreDB is refused with a fix, and nothing in the data directory or in the
// database has changed.
func TestRefusalsAtTheStartWithEventStoreDB(t *testing.T) {
	t.Parallel()
	remote := func(db *esdbProcess) storeConfig {
		return storeConfig{Kind: storeEventstore, Connection: domain.NewSecret(db.connection)}
	}
	rng := testSeed(t)
	db, empty := startESDB(t, 1, rng), startESDB(t, 1, rng)
	begun := func(t *testing.T, store storeConfig) serverConfig {
		t.Helper()
		cfg := serverConfig{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0", Store: store}
		if err := started(t, cfg).Close(); err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	ours := begun(t, remote(db))
	refused := func(t *testing.T, cfg serverConfig, says string) {
		t.Helper()
		before := contents(t, cfg.DataDir)
		s, err := startServer(t.Context(), cfg)
		if err == nil {
			_ = s.Close()
			t.Fatal("it started")
		}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("the refusal is: %v", err)
		}
		after := contents(t, cfg.DataDir)
		for path, sum := range before {
			if after[path] != sum {
				t.Errorf("%s has changed", path)
			}
		}
		if len(after) > len(before)+1 { // the lock is new
			t.Errorf("there was %d, and is %d", len(before), len(after))
		}
	}
	t.Run("the ledger of another data directory", func(t *testing.T) {
		refused(t, serverConfig{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Store: remote(db)}, "no vault in")
	})
	t.Run("the vault of another ledger", func(t *testing.T) {
		cfg := begun(t, storeConfig{})
		cfg.Store = remote(db)
		refused(t, cfg, "hookledger ledger copy") // there is a ledger in the directory
		removeLedger(t, cfg.DataDir)
		refused(t, cfg, "belongs to the ledger")
	})
	t.Run("the embedded store where the ledger is elsewhere", func(t *testing.T) {
		cfg := ours
		cfg.Store = storeConfig{}
		refused(t, cfg, "--store eventstore")
	})
	t.Run("an empty database for a vault", func(t *testing.T) {
		cfg := ours
		cfg.Store = remote(empty)
		refused(t, cfg, "holds no ledger")
		begun(t, remote(empty)) // it was left empty
	})
	t.Run("a second one on the data directory", func(t *testing.T) {
		first := started(t, ours)
		refused(t, ours, "in use by another process")
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if err := started(t, ours).Close(); err != nil {
			t.Error(err)
		}
	})
}
