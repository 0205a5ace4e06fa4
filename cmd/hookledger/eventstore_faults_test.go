package main

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The promises, with the ledger in an EventStoreDB that has a very bad day: the demo, the kill loop and a rebuild of
// the read models while appends are committed and not answered, leaders die and freeze, connections are cut and slow,
// and subscriptions are dropped and fall silent, at random from a seed that is printed.

func TestSIGKILLAtRandomMomentsLosesNothingInEventStoreDB(t *testing.T) {
	t.Parallel()
	rng := testSeed(t)
	db := startESDB(t, 3, rng)
	k := newKillLoop(t, rng, db.flags()...)
	db.tell("faults on")
	k.rounds(killRounds(t))
	k.node.awaitTerminal(t)
	deliveries := k.node.deliveries(t)
	k.node.stop(t)

	first, again := k.rebuild(), k.rebuild()
	if first != again || first == "" {
		t.Errorf("two rebuilds of the same ledger: %s and %s", first, again)
	}
	t.Logf("faults: %s", db.tell("faults off"))
	k.start()
	k.oracle.judge(t, k.node.records(t))
	if rebuilt := k.node.deliveries(t); !slices.Equal(rebuilt, deliveries) {
		t.Errorf("%d deliveries before the rebuild and %d other ones after it", len(deliveries), len(rebuilt))
	}
	k.node.stop(t)
}

// rebuild makes the read models anew and gives the digest of their rows.
func (k *killLoop) rebuild() string {
	k.t.Helper()
	args := append([]string{"projection", "rebuild", "-o", "json", "--data-dir", k.dir}, k.flags...)
	var said strings.Builder
	cmd := exec.CommandContext(k.t.Context(), binary(k.t), args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		k.t.Fatalf("%v: %s", err, &said)
	}
	var done rebuilt
	if err := json.Unmarshal(out, &done); err != nil {
		k.t.Fatalf("%v in %s", err, out)
	}
	return done.Digest
}

// deliveries reads all of them, as they are shown.
func (n *node) deliveries(t *testing.T) []string {
	t.Helper()
	var all []string
	for cursor := ""; ; {
		var page struct {
			Data       []json.RawMessage `json:"data"`
			NextCursor string            `json:"next_cursor"`
		}
		answer := n.must(http.MethodGet, "/v1/deliveries?limit=250&order=asc&cursor="+cursor, nil)
		if err := json.Unmarshal(answer, &page); err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Data {
			all = append(all, string(d))
		}
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

func TestTheDemoInEventStoreDB(t *testing.T) {
	t.Parallel()
	db := startESDB(t, 3, testSeed(t))
	db.tell("faults on")
	args := append([]string{"demo", "--once", "-o", "json", "--data-dir", t.TempDir()}, db.flags()...)
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	faults := db.tell("faults off")
	if err != nil || !strings.Contains(said.String(), "All 9 deliveries of 6 events succeeded") {
		t.Fatalf("%v with the faults %s:\n%s%s", err, faults, out, &said)
	}
	t.Logf("faults: %s", faults)
}
