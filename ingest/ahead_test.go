package ingest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
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

// rows is a ledger of n events: each is received and routed, and followed by other records. Positions are wide apart.
type rows struct {
	ledger.Reader
	t           *testing.T
	n           int
	every, wide domain.Position // records an event, positions a record
}

// at is the position of the i-th event's first record.
func (l rows) at(i int) domain.Position { return domain.Position(i)*l.every*l.wide + l.wide }

func (l rows) ReadAll(_ context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	if after%l.wide != 0 && (after+1)%l.wide != 0 {
		l.t.Errorf("%d is no position to read behind: there are records at multiples of %d", after, l.wide)
	}
	return func(yield func(*domain.Record, error) bool) {
		for p := after/l.wide*l.wide + l.wide; p < l.at(l.n); p += l.wide {
			r := &domain.Record{Position: p, Tenant: "acme", Fact: &domain.EventRouted{}}
			if nth := p/l.wide - 1; nth%l.every == 0 {
				r.Stream = domain.EventStream("acme", fmt.Sprint(nth/l.every))
				r.Fact = &domain.EventReceived{Size: 300}
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// searched asks for events in order, and says how many were not read on.
func (l rows) searched(asked []int) (n int) {
	l.t.Helper()
	a := newAhead(l)
	for _, i := range asked {
		at, k := l.at(i), bodyKey{"acme", fmt.Sprint(i)}
		switch r := a.take(k); {
		case r == nil:
			n++
			a.missed(l.t.Context(), k, at, at+l.wide)
		case r.Position != at:
			l.t.Fatalf("event %d: got position %d", i, r.Position)
		}
	}
	return n
}

// What eight connections post at once stands interleaved on the ledger, and falls due post by post.
func TestAnInterleavedBacklogIsReadInOrderNotSearchedFor(t *testing.T) {
	t.Parallel()
	const posts, each, rounds = 8, 500, 10
	var asked []int
	for i := range posts * each * rounds {
		round, in := i/(posts*each), i%(posts*each)
		asked = append(asked, round*posts*each+in%each*posts+in/each)
	}
	for _, l := range []rows{{every: 2, wide: 1}, {every: 2, wide: 700}, {every: 7, wide: 1}, {every: 7, wide: 700}} {
		l.t, l.n = t, len(asked)
		if got := l.searched(asked); got > len(asked)/25 {
			t.Errorf("%d records an event, %d positions a record: %d of %d events were searched for", l.every, l.wide, got,
				len(asked))
		}
	}
}

// What is due at about one time stands in any order: whoever was posted within some seconds comes next.
func TestAJumbledBacklogIsReadInOrderNotSearchedFor(t *testing.T) {
	t.Parallel()
	const n, within, seed = 40_000, 3000, 7
	rng := rand.New(rand.NewPCG(seed, 0))
	due := make([]int, n)
	for i := range due {
		due[i] = i + rng.IntN(within)
	}
	asked := make([]int, n)
	for i := range asked {
		asked[i] = i
	}
	slices.SortStableFunc(asked, func(a, b int) int { return due[a] - due[b] })
	if got := (rows{t: t, n: n, every: 7, wide: 1}).searched(asked); got > n/25 {
		t.Errorf("seed %d: %d of %d events were searched for", seed, got, n)
	}
}

// Where nearly all that would be read on is never asked for, each is searched for.
func TestWhatIsAskedForFarApartIsNotReadOn(t *testing.T) {
	t.Parallel()
	var asked []int
	for i := 0; i < 60_000; i += 100 {
		asked = append(asked, i)
	}
	if got := (rows{t: t, n: 60_000, every: 2, wide: 1}).searched(asked); got < len(asked)*3/4 {
		t.Errorf("of %d events only %d were searched for: the ledger was read on for them", len(asked), got)
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
