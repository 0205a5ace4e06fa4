package eventstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/eventstore/esdbtest"
)

// holds checks that the stream has these records, each once.
func holds(t *testing.T, s *Store, on domain.Stream, want []domain.Record) {
	t.Helper()
	n := 0
	for rec, err := range s.ReadStream(t.Context(), on, 0) {
		if err != nil {
			t.Errorf("read %s: %v", on, err)
			return
		}
		if n >= len(want) || rec.ID != want[n].ID {
			t.Errorf("%s has %s at revision %d", on, rec.ID, n)
			return
		}
		n++
	}
	if n != len(want) {
		t.Errorf("%s has %d records, want %d", on, n, len(want))
	}
}

// metric is the value of a counter or gauge of the store's, whose Config must have a registry; label is the value of
// its one label.
func metric(t *testing.T, s *Store, name, label string) float64 {
	t.Helper()
	families, err := s.cfg.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// TestAppend_OutcomesAreFoundOut: whatever becomes of the first try, the append is answered, and stands once.
func TestAppend_OutcomesAreFoundOut(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		fault    esdbtest.Fault
		resolved bool // the first try may have been written
	}{
		{esdbtest.CommitThenUnavailable, true}, {esdbtest.CommitThenCancel, true}, {esdbtest.CommitThenAbort, true},
		{esdbtest.CutConnection, true}, {esdbtest.KillLeader, true}, {esdbtest.FreezeLeader, true},
		{esdbtest.RefuseAppend, true}, // "Unavailable" alone does not say when it happened
	} {
		t.Run(string(f.fault), func(t *testing.T) {
			t.Parallel()
			faults := esdbtest.NewFaults(seeded(t))
			cluster := esdbtest.StartCluster(t, 3, esdbtest.WithFaults(faults))
			cfg := Config{ConnectionString: cluster.ConnectionString() + "&gossipTimeout=1", Metrics: prometheus.NewRegistry()}
			cfg.deadline = 300 * time.Millisecond
			s := open(t, cfg)
			on := freshStream()
			first, second := some(on, 2), some(on, 1)
			if _, err := s.Append(t.Context(), on, domain.NoStream, first); err != nil {
				t.Fatal(err)
			}
			faults.Set(f.fault, esdbtest.Next(1))
			answer, err := s.Append(t.Context(), on, 1, second)
			if err != nil || answer.Revision != 2 || answer.Duplicate != f.resolved {
				t.Errorf("answered %+v, %v", answer, err)
			}
			if n := faults.Fired(f.fault); n != 1 {
				t.Errorf("%s fired %d times", f.fault, n)
			}
			holds(t, s, on, append(first, second...))
			if n := metric(t, s, "hookledger_eventstore_unknown_outcomes_resolved_total", "appended"); n != 1 {
				t.Errorf("%v outcomes were found out", n)
			}
		})
	}
}

// TestAppend_ConflictAfterAnUnknownOutcome: the first try was not written, nobody knew, and somebody else was faster.
func TestAppend_ConflictAfterAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	on, others := freshStream(), make(chan struct{}, 1)
	var once sync.Once
	before := func(_ context.Context, c *esdbtest.Call) (err error) {
		if c.Stream == string(on) && c.Events == 2 {
			once.Do(func() {
				<-others
				err = status.Error(codes.Aborted, "Operation timed out")
			})
		}
		return err
	}
	node := esdbtest.Start(t, esdbtest.WithHooks(esdbtest.Hooks{Before: before}))
	s := open(t, Config{ConnectionString: node.ConnectionString(), Metrics: prometheus.NewRegistry()})
	mine, theirs := some(on, 2), some(on, 1)
	if _, err := s.Append(t.Context(), on, domain.NoStream, theirs); err != nil {
		t.Fatal(err)
	}
	others <- struct{}{}
	answer, err := s.Append(t.Context(), on, domain.NoStream, mine)
	if !errors.Is(err, ledger.ErrConflict) || errors.Is(err, ledger.ErrUnknownOutcome) {
		t.Errorf("answered %+v, %v", answer, err)
	}
	if n := metric(t, s, "hookledger_eventstore_unknown_outcomes_resolved_total", "conflict"); n != 1 {
		t.Errorf("%v outcomes were found out", n)
	}
	holds(t, s, on, theirs)
}

// TestAppend_AnyFaultAtAnyTime appends while everything goes wrong at random.
func TestAppend_AnyFaultAtAnyTime(t *testing.T) {
	t.Parallel()
	seed := seeded(t)
	faults := esdbtest.NewFaults(seed)
	cluster := esdbtest.StartCluster(t, 3, esdbtest.WithFaults(faults), esdbtest.WithSlow(time.Millisecond),
		esdbtest.WithOutage(200*time.Millisecond))
	cfg := Config{ConnectionString: cluster.ConnectionString() + "&gossipTimeout=1"}
	cfg.deadline, cfg.lag, cfg.silence = 150*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond
	s := open(t, cfg)
	for fault, chance := range map[esdbtest.Fault]float64{
		esdbtest.CommitThenUnavailable: 0.02, esdbtest.CommitThenCancel: 0.02, esdbtest.CommitThenAbort: 0.05,
		esdbtest.RefuseAppend: 0.02, esdbtest.CutConnection: 0.02, esdbtest.RefuseConnection: 0.05,
		esdbtest.SlowConnection: 0.1, esdbtest.DropSubscription: 0.05, esdbtest.SilentSubscription: 0.01,
		esdbtest.KillLeader: 0.003, esdbtest.FreezeLeader: 0.003,
	} {
		faults.Set(fault, esdbtest.Chance(chance))
	}
	last, saw := freshStream(), witness{}
	var following, writing sync.WaitGroup
	following.Go(func() {
		if err := saw.follow(t.Context(), s, last, 50); err != nil {
			t.Errorf("follow: %v", err)
		}
	})
	const streams, appends = 16, 40
	want := make([][]domain.Record, streams)
	rng := rand.New(rand.NewPCG(seed, 1))
	sizes := make([]int, appends)
	for i := range sizes {
		sizes[i] = rng.IntN(4) + 1
	}
	for i := range streams {
		writing.Go(func() {
			on, at := freshStream(), domain.NoStream
			for _, size := range sizes {
				records := some(on, size)
				answer, err := ledger.AppendKnown(t.Context(), s, on, at, records)
				for errors.Is(err, ledger.ErrUnavailable) {
					answer, err = ledger.AppendKnown(t.Context(), s, on, at, records)
				}
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				at = answer.Revision
				want[i] = append(want[i], records...)
			}
		})
	}
	writing.Wait()
	faults.Off()
	if _, err := ledger.AppendKnown(t.Context(), s, last, domain.NoStream, some(last, 1)); err != nil {
		t.Fatal(err)
	}
	following.Wait()
	for _, records := range want {
		holds(t, s, records[0].Stream, records)
	}
	total := 1
	for _, size := range sizes {
		total += streams * size
	}
	if len(saw.seen) != total {
		t.Errorf("a follower saw %d records of %d", len(saw.seen), total)
	}
	t.Logf("%d records; %s", total, faults)
}

// TestAppend_NothingIsListening: a connection that is refused carried nothing, and that is said.
func TestAppend_NothingIsListening(t *testing.T) {
	t.Parallel()
	node := esdbtest.Start(t)
	cfg := Config{ConnectionString: node.ConnectionString()}
	cfg.patience, cfg.appendConns = 200*time.Millisecond, 1
	s := open(t, cfg)
	on := freshStream()
	first, second := some(on, 1), some(on, 1)
	if _, err := s.Append(t.Context(), on, domain.NoStream, first); err != nil {
		t.Fatal(err)
	}
	node.Stop()
	for noticed := false; !noticed && !t.Failed(); { // what a dying connection took with it is not known
		ctx, cancel := context.WithTimeout(t.Context(), 2*cfg.patience)
		other := freshStream()
		_, err := s.Append(ctx, other, domain.NoStream, some(other, 1))
		noticed = errors.Is(err, ledger.ErrUnavailable)
		cancel()
	}
	for range 3 {
		answer, err := s.Append(t.Context(), on, 0, second)
		if !errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrUnknownOutcome) {
			t.Errorf("answered %+v, %v", answer, err)
		}
		if domain.Code(err) != "eventstore_address" || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("that the server is down is said as %v", err)
		}
	}
	if err := s.Ready(t.Context()); domain.Code(err) != "eventstore_address" {
		t.Errorf("ready: %v", err)
	}
	if s.Err() != nil {
		t.Errorf("an outage is no failure of the store: %v", s.Err())
	}
	if err := node.Restart(); err != nil {
		t.Fatal(err)
	}
	holds(t, open(t, Config{ConnectionString: node.ConnectionString()}), on, first)
	answer, err := s.Append(t.Context(), on, 0, second)
	for errors.Is(err, ledger.ErrUnavailable) { // until it has noticed
		answer, err = s.Append(t.Context(), on, 0, second)
	}
	if err != nil || answer.Revision != 1 || answer.Duplicate {
		t.Errorf("answered %+v, %v", answer, err)
	}
	for s.Ready(t.Context()) != nil && !t.Failed() {
		if err := t.Context().Err(); err != nil {
			t.Error(err)
		}
	}
	holds(t, s, on, append(first, second...))
}

// TestAppend_TheCallersTimeIsUp: what was sent stays unknown when the caller stops waiting, and goes on.
func TestAppend_TheCallersTimeIsUp(t *testing.T) {
	t.Parallel()
	on := freshStream()
	begun, goOn := make(chan struct{}), make(chan struct{})
	node := esdbtest.Start(t, esdbtest.WithHooks(esdbtest.Hooks{Before: func(ctx context.Context, c *esdbtest.Call) error {
		if c.Stream == string(on) && c.Events > 0 {
			begun <- struct{}{}
			<-goOn
		}
		return nil
	}}))
	s := open(t, Config{ConnectionString: node.ConnectionString()})
	records := some(on, 2)
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan error, 1)
	go func() {
		_, err := s.Append(ctx, on, domain.NoStream, records)
		answers <- err
	}()
	<-begun
	cancel()
	if err := <-answers; !errors.Is(err, ledger.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("answered %v", err)
	}
	if n := s.appends.inFlight(); n != 1 {
		t.Errorf("%d calls are in flight", n)
	}
	close(goOn)
	again := make(chan struct{})
	go func() {
		defer close(again)
		<-begun
	}()
	answer, err := s.Append(t.Context(), on, domain.NoStream, records)
	if err != nil || !answer.Duplicate && answer.Revision != 1 {
		t.Errorf("repeated: %+v, %v", answer, err)
	}
	<-again
	holds(t, s, on, records)

	// Nothing is begun for one whose time was up before.
	other := freshStream()
	if _, err := s.Append(ctx, other, domain.NoStream, some(other, 1)); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("a cancelled append is answered %v", err)
	}
	holds(t, s, other, nil)
}

// TestAppend_UnknownToTheEnd: the append was written, and no repeat is answered.
func TestAppend_UnknownToTheEnd(t *testing.T) {
	t.Parallel()
	faults := esdbtest.NewFaults(seeded(t))
	node := esdbtest.Start(t, esdbtest.WithFaults(faults))
	s := open(t, Config{ConnectionString: node.ConnectionString()})
	on := freshStream()
	records := some(on, 1)
	faults.Set(esdbtest.CommitThenAbort, esdbtest.Chance(1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := make(chan error, 1)
	go func() {
		_, err := s.Append(ctx, on, domain.NoStream, records)
		answers <- err
	}()
	for faults.Fired(esdbtest.CommitThenAbort) < 3 { // it was written, and is being repeated
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-answers; !errors.Is(err, ledger.ErrUnknownOutcome) || errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("answered %v", err)
	}
	faults.Off()
	holds(t, s, on, records)
}

// TestClose_EndsRepeats: at the store's end a repeated append ends with what is known of it.
func TestClose_EndsRepeats(t *testing.T) {
	t.Parallel()
	faults := esdbtest.NewFaults(seeded(t))
	node := esdbtest.Start(t, esdbtest.WithFaults(faults))
	s := open(t, Config{ConnectionString: node.ConnectionString()})
	faults.Set(esdbtest.CommitThenAbort, esdbtest.Chance(1))
	on := freshStream()
	answers := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), on, domain.NoStream, some(on, 1))
		answers <- err
	}()
	for faults.Fired(esdbtest.CommitThenAbort) < 3 { // it is being repeated
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answers; !errors.Is(err, ledger.ErrUnknownOutcome) || !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("answered %v", err)
	}
}

// TestFateOf holds the texts by which the client's errors are told apart where its codes do not.
func TestFateOf(t *testing.T) {
	t.Parallel()
	node := esdbtest.Start(t)
	s := open(t, Config{ConnectionString: node.ConnectionString()})
	c, err := s.appends.acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.appends.release(c, false)
	for name, check := range map[string]struct {
		call func() error
		want fate
	}{
		"no event's position": {func() error {
			_, _, err := drain(t.Context(), c.client, 1, func(ctx context.Context, c *esdb.Client) (*esdb.ReadStream, error) {
				return c.ReadAll(ctx, esdb.ReadAllOptions{From: esdb.Position{Commit: 549, Prepare: 549}}, 1)
			})
			return err
		}, noPosition},
		"no stream": {func() error {
			_, _, err := drain(t.Context(), c.client, 1, lastEvent("event-default.none"))
			return err
		}, absent},
		"too large": {func() error {
			_, err := c.client.AppendToStream(t.Context(), "event-default.large", esdb.AppendToStreamOptions{},
				esdb.EventData{EventType: "e", Data: make([]byte, 1<<20+1)})
			return err
		}, tooLarge},
		"conflict": {func() error {
			_, err := c.client.AppendToStream(t.Context(), "event-default.none", esdb.AppendToStreamOptions{
				ExpectedRevision: esdb.Revision(7)}, esdb.EventData{EventType: "e"})
			return err
		}, conflict},
	} {
		err := check.call()
		if got := fateOf(err); got != check.want {
			t.Errorf("%s: %v has fate %d, want %d", name, err, got, check.want)
		}
	}
}
