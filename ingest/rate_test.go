package ingest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// clock is a wall clock that the test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Semantics: what is over the tenant's rate is refused with the time after which it is taken, and nothing is written.
func TestSemantics_ATenantsRateOfIntake(t *testing.T) {
	t.Parallel()
	c := &clock{at: noon}
	f := newFixture(t, func(cfg *Config) { cfg.Now = c.now })
	for i := range 30 {
		f.must(post(fmt.Sprintf("free_%d", i), completed))
	}
	f.dir.evolve(&domain.TenantReconfigured{Settings: domain.TenantSettings{IngestRate: 4}})
	for i := range leastBurst {
		f.must(post(fmt.Sprintf("burst_%d", i), completed))
	}
	refusal := f.refused(post("over", completed), domain.KindLimited, "rate_limited")
	if refusal.After != 250*time.Millisecond {
		t.Errorf("it may be repeated after %v", refusal.After)
	}
	// What hookledger posts itself is of its own pace.
	own := post("own", completed)
	own.Actor = domain.System("followups")
	f.must(own)
	c.pass(refusal.After)
	f.must(post("over", completed))
	f.refused(post("over_again", completed), domain.KindLimited, "rate_limited")
	// A changed rate holds from its next post on.
	f.dir.evolve(&domain.TenantReconfigured{})
	f.must(post("free_again", completed))
}

// Of a batch as many as the rate lets through are taken, in its order: also where time goes on meanwhile, which would
// let through what stands behind what was refused.
func TestABatchOverTheRate(t *testing.T) {
	t.Parallel()
	c := &clock{at: noon}
	f := newFixture(t, func(cfg *Config) {
		cfg.Now = func() time.Time {
			defer c.pass(150 * time.Millisecond)
			return c.now()
		}
	})
	f.dir.evolve(&domain.TenantReconfigured{Settings: domain.TenantSettings{IngestRate: 1}})
	posts := make([]Post, leastBurst+25)
	for i := range posts {
		posts[i] = post(fmt.Sprintf("evt_%d", i), completed)
	}
	results := f.PostBatch(t.Context(), posts)
	taken := slices.IndexFunc(results, func(r Result) bool { return r.Err != nil })
	if taken < leastBurst {
		t.Fatalf("%d were taken", taken)
	}
	for i, r := range results {
		if over := i >= taken; over != (domain.Code(r.Err) == "rate_limited") || !over && r.Err != nil {
			t.Errorf("post %d: %v", i, r.Err)
		}
	}
}

// Semantics: the events of a batch that an ordered endpoint gets stand on the ledger in the batch's order, whatever
// else is in it.
func TestSemantics_ABatchKeepsItsOrderForAnOrderedEndpoint(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dir.ordered("ep_line", "cron.completed")
	posts := make([]Post, 301)
	var want []string
	for i := range 300 {
		posts[i] = post(fmt.Sprintf("evt_%03d", 299-i), completed)
		if i%3 == 0 {
			posts[i].Event, posts[i].Data = "agent.status_changed", []byte(`{"agentId":"a","from":"online","to":"offline"}`)
		} else {
			want = append(want, posts[i].ID)
		}
	}
	posts[300] = posts[1] // a repeat
	for i, r := range f.PostBatch(t.Context(), posts) {
		if r.Err != nil {
			t.Fatalf("post %d: %v", i, r.Err)
		}
	}
	var got []string
	for r, err := range f.store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := r.Fact.(*domain.EventReceived); ok && e.Event == "cron.completed" {
			got = append(got, e.ID)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the ledger has them as %v", got)
	}
}

// Behind an event that could not be written, nothing that an ordered endpoint gets is tried.
func TestABatchEndsAtAnEventThatCouldNotBeWritten(t *testing.T) {
	t.Parallel()
	n := 0
	f := newFixture(t, func(cfg *Config) {
		cfg.Store = &scripted{Store: cfg.Store,
			append: func(_ context.Context, through func() (ledger.Appended, error)) (ledger.Appended, error) {
				if n++; n == 3 {
					return ledger.Appended{}, ledger.ErrUnavailable
				}
				return through()
			}}
	})
	f.dir.ordered("ep_line", "*")
	posts := make([]Post, 6)
	for i := range posts {
		posts[i] = post(fmt.Sprintf("evt_%d", i), completed)
	}
	posts[1].Data = []byte(`{`) // refused by its own fault: it keeps nobody up
	codes := make([]string, len(posts))
	for i, r := range f.PostBatch(t.Context(), posts) {
		codes[i] = domain.Code(r.Err)
	}
	if !slices.Equal(codes[2:], []string{"", "ledger_unavailable", "not_tried", "not_tried"}) || codes[0] != "" {
		t.Errorf("the results are %q", codes)
	}
}

// ordered registers an endpoint that gets its events one after the other.
func (d *directory) ordered(id, pattern string) {
	e := &domain.Endpoint{}
	e.Evolve(&domain.Record{Tenant: "acme", Stream: domain.EndpointStream("acme", id),
		Fact: &domain.EndpointRegistered{Config: domain.EndpointConfig{Ordered: true, EventTypes: []string{pattern}}}})
	d.mu.Lock()
	d.endpoints = append(d.endpoints, e)
	d.mu.Unlock()
	d.evolve(&domain.TenantReconfigured{})
}
