package ingest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Many posters send the same few events, and the power fails at some moment. Afterwards every acked event is there and
// opens, and whoever repeats gets the first receipt: still one event for each id.
func TestPostersOfTheSameIdsAcrossACrash(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	mem := vfs.NewCrashableMem()
	open := func(fs vfs.FS) *fixture {
		f := openOn(t, fs)
		f.dir.endpoint("ep_all", false, "*")
		return f
	}
	before := open(mem)

	const posters, events = 16, 24
	type crash struct {
		fs    *vfs.MemFS
		acked map[string]Receipt
	}
	var mu sync.Mutex // guards all below
	acked := map[string]Receipt{}
	var crashes []crash
	var wg sync.WaitGroup
	for range posters {
		wg.Go(func() {
			for i := range events {
				r, err := before.Post(t.Context(), crashPost(i))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				first := *r
				first.Duplicate = true
				acked[r.ID] = first
				if rnd.IntN(40) == 0 {
					c := crash{acked: maps.Clone(acked)}
					c.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
					crashes = append(crashes, c)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i, c := range crashes {
		after := open(c.fs)
		for id := range c.acked {
			if _, err := after.bodies.Event(t.Context(), "acme", id); err != nil {
				t.Fatalf("crash %d: the acked event %s: %v", i, id, err)
			}
			if len(after.records(id)) != 2 {
				t.Fatalf("crash %d: %d records of %s", i, len(after.records(id)), id)
			}
		}
		for n := range events {
			p := crashPost(n)
			r := after.must(p)
			if first, ok := c.acked[r.ID]; ok && !reflect.DeepEqual(*r, first) {
				t.Fatalf("crash %d: %+v, first %+v", i, r, first)
			}
			if again := after.must(p); !again.Duplicate || len(after.records(r.ID)) != 2 {
				t.Fatalf("crash %d: %+v", i, again)
			}
		}
	}
	t.Logf("%d crashes", len(crashes))
}

// crashPost is one of the events; every third has its id from a key, every second a subject of its own.
func crashPost(i int) Post {
	p := post(fmt.Sprintf("id-%d", i), fmt.Sprintf(`{"jobId":"job_%d","runId":"r"}`, i))
	if i%3 == 0 {
		p.ID, p.IdempotencyKey = "", fmt.Sprintf("key-%d", i)
	}
	if i%2 == 0 {
		p.Subject = fmt.Sprintf("user-%d", i)
	}
	return p
}
