package ingest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"

	"hookledger/domain"
	"hookledger/ledger"
)

// searching counts what is searched for by its stream.
type searching struct {
	ledger.Reader
	searches atomic.Int64
}

func (s *searching) ReadStream(ctx context.Context, stream domain.Stream,
	from domain.Revision) iter.Seq2[*domain.Record, error] {
	s.searches.Add(1)
	return s.Reader.ReadStream(ctx, stream, from)
}

// backlog posts n events; the i-th is about run i.
func (f *fixture) backlog(n int) []string {
	f.t.Helper()
	names := ids(n)
	for at := 0; at < n; at += 500 {
		posts := make([]Post, 0, 500)
		for i, id := range names[at:min(at+500, n)] {
			posts = append(posts, post(id, runData(at+i)))
		}
		for _, r := range f.PostBatch(f.t.Context(), posts) {
			if r.Err != nil {
				f.t.Fatal(r.Err)
			}
		}
	}
	return names
}

func runData(i int) string { return fmt.Sprintf(`{"jobId":"job_1","runId":"run_%d"}`, i) }

func TestABacklogIsReadInOrderNotSearchedFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const n = 6000
	names := f.backlog(n)
	reader := &searching{Reader: f.store}
	bodies := NewBodies(reader, f.vault, 1) // keeps nothing
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				e, err := bodies.Event(t.Context(), "acme", names[i])
				if err != nil || !bytes.Contains(e.Body, []byte(runData(i))) || e.At.IsZero() {
					t.Errorf("event %d: %s %v", i, e.Body, err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d of %d events were searched for", reader.searches.Load(), n)
	if got := reader.searches.Load(); got > n/10 {
		t.Errorf("%d of %d events were searched for", got, n)
	}
}

// What eight connections post at once stands interleaved on the ledger, and falls due post by post.
func TestAnInterleavedBacklogIsReadInOrderNotSearchedFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const posts, each, rounds = 8, 400, 2
	const n = posts * each * rounds
	names := f.backlog(n)
	reader := &searching{Reader: f.store}
	bodies := NewBodies(reader, f.vault, 1) // keeps nothing
	for i := range n {
		round, in := i/(posts*each), i%(posts*each)
		at := round*posts*each + in%each*posts + in/each
		e, err := bodies.Event(t.Context(), "acme", names[at])
		if err != nil || !bytes.Contains(e.Body, []byte(runData(at))) {
			t.Fatalf("event %d: %s %v", at, e.Body, err)
		}
	}
	if got := reader.searches.Load(); got > n/25 {
		t.Errorf("%d of %d events were searched for", got, n)
	}
}

// Where nearly all that would be read on is never asked for, each is searched for, and little is read.
func TestWhatIsAskedForFarApartIsNotReadOn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const n, every = 12_000, 100
	names := f.backlog(n)
	reader := &searching{Reader: f.store}
	bodies := NewBodies(reader, f.vault, 1)
	for i := 0; i < n; i += every {
		if _, err := bodies.Event(t.Context(), "acme", names[i]); err != nil {
			t.Fatal(err)
		}
	}
	if got := reader.searches.Load(); got < n/every/2 {
		t.Errorf("of %d events only %d were searched for: the ledger was read on for them", n/every, got)
	}
}

func TestEventsInAnyOrderAreFound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const n = 3000
	names := f.backlog(n)
	bodies := NewBodies(f.store, f.vault, 1)
	// A stride that is coprime to n visits each once, now near each other and now far.
	for _, stride := range []int{1, 7, 1013, n - 1} {
		for k := range n {
			i := k * stride % n
			e, err := bodies.Event(t.Context(), "acme", names[i])
			if err != nil || !bytes.Contains(e.Body, []byte(runData(i))) {
				t.Fatalf("stride %d, event %d: %s %v", stride, i, e.Body, err)
			}
		}
	}
}

func BenchmarkBodiesBacklog(b *testing.B) {
	f := newFixture(b)
	names := f.backlog(20000)
	bodies := NewBodies(f.store, f.vault, 1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := bodies.Event(b.Context(), "acme", names[i%len(names)]); err != nil {
			b.Fatal(err)
		}
	}
}
