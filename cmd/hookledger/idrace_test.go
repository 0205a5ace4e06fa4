package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOneEventOfManyPostsOfOneID: 64 clients post the same event at once, and the server is killed meanwhile: between
// the append and the reply as well as before and after. They repeat what was not answered. There is one event, with one
// delivery, and at most one client was told that it was the first.
func TestOneEventOfManyPostsOfOneID(t *testing.T) {
	t.Parallel()
	rng := testSeed(t)
	const clients = 64
	rounds := killRounds(t)
	o := &oracle{acked: map[string]bool{}, fail: rand.New(rand.NewPCG(1, 1))}
	recv := &foulReceiver{reached: make(chan struct{})}
	recv.listen(t, o, nil)
	dir, address := t.TempDir(), freeAddress(t)
	n := startNode(t, dir, address)
	n.must(http.MethodPost, "/v1/endpoints", map[string]any{"url": "http://" + recv.url + "/",
		"event_types": []string{"*"}, "retry_schedule": []string{"0s", "0s"}})
	lost := 0
	for round := range rounds {
		id := fmt.Sprintf("race-%d", round)
		body := fmt.Appendf(nil, `{"id":%q,"event":"agent.status_changed",`+
			`"data":{"agentId":"a","from":"online","to":"offline"}}`, id)
		var first, answered atomic.Int32
		post := func(n *node) bool {
			code, answer, err := n.call(http.MethodPost, "/v1/events", body)
			if err != nil {
				return false
			}
			var receipt struct{ Duplicate bool }
			if code != http.StatusAccepted || json.Unmarshal(answer, &receipt) != nil {
				t.Errorf("a post is answered %d %s", code, answer)
			}
			if answered.Add(1); !receipt.Duplicate {
				first.Add(1)
			}
			return true
		}
		var posts sync.WaitGroup
		var unanswered atomic.Int32
		for range clients {
			posts.Go(func() {
				if !post(n) {
					unanswered.Add(1)
				}
			})
		}
		// The moment is random by design: from before the first append to after the last reply.
		timer := time.NewTimer(time.Duration(rng.IntN(1<<(6+rng.IntN(8)))) * time.Microsecond)
		<-timer.C
		n.kill()
		posts.Wait()
		told := first.Load()
		n = startNode(t, dir, address)
		for range unanswered.Load() {
			posts.Go(func() {
				if !post(n) {
					t.Error("a post to a server that runs is not answered")
				}
			})
		}
		posts.Wait()
		if answered.Load() != clients || first.Load() > 1 {
			t.Errorf("%s: %d of %d clients were answered, and %d were the first", id, answered.Load(), clients, first.Load())
		}
		if told == 0 && first.Load() == 0 {
			lost++ // the append was durable, and its reply was not sent
		}
		o.acked[id] = true
	}
	n.awaitTerminal(t)
	records := n.records(t)
	o.judge(t, records)
	events := map[string]int{}
	for r := range records {
		if r.Type == "EventReceived" {
			events[r.Data.ID]++
		}
		if len(r.Data.Matches) > 1 {
			t.Errorf("%d deliveries were routed", len(r.Data.Matches))
		}
	}
	for id, n := range events {
		if n != 1 {
			t.Errorf("%s is %d times on the ledger", id, n)
		}
	}
	t.Logf("in %d of %d rounds the kill came between the append and the reply", lost, rounds)
	n.stop(t)
}
