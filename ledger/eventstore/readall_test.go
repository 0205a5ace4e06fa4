package eventstore

import (
	"strconv"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/domain"
	"hookledger/ledger/eventstore/esdbtest"
)

// grow appends n records, each to a stream of its own, and returns when the tail of s has them.
func grow(t *testing.T, s *Store, n int) {
	t.Helper()
	for range n {
		on := freshStream()
		if _, err := s.Append(t.Context(), on, domain.NoStream, some(on, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for head := s.Head(); s.tail.end().pos < head; {
		if err := s.Wait(t.Context(), s.tail.end().pos); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadAll_ASlowReaderFallsBehindTheTailAgain: it reads from the server, has come to the tail, and while it takes
// its time the tail moves on, so that it reads from the server once more.
func TestReadAll_ASlowReaderFallsBehindTheTailAgain(t *testing.T) {
	t.Parallel()
	const before, held, meanwhile = 2 * tailChunk, tailChunk + 40, 2 * tailChunk
	cfg := Config{ConnectionString: esdbtest.Start(t).ConnectionString()}
	cfg.tailRecords, cfg.chunk = held, 16
	s := open(t, cfg)
	grow(t, s, before)
	var saw witness
	for rec, err := range s.ReadAll(t.Context(), 0) {
		if err == nil {
			err = saw.see(rec)
		}
		if err != nil {
			t.Fatalf("behind %d records: %v", len(saw.seen), err)
		}
		if len(saw.seen) == before-held+32 { // the first of what it takes from the tail
			grow(t, s, meanwhile)
		}
	}
	if len(saw.seen) < before || len(saw.seen) > before+meanwhile {
		t.Errorf("it saw %d records", len(saw.seen))
	}
	if parked := s.cursors.parked; len(parked) != 1 || parked[0].yielded.pos != saw.seen[len(saw.seen)-1].Position {
		t.Errorf("the reader's place is kept as %+v", parked)
	}
}

// TestReadAll_OthersEventsMayBeScavenged: a reader stands at an event that the server wrote for itself, and a scavenge
// takes it.
func TestReadAll_OthersEventsMayBeScavenged(t *testing.T) {
	t.Parallel()
	node := esdbtest.Start(t)
	cfg := Config{ConnectionString: node.ConnectionString()}
	cfg.tailRecords, cfg.chunk = 1, 4
	s := open(t, cfg)
	o := operator(t, node)
	const rounds, others = 5, 6
	for range rounds {
		grow(t, s, 1)
		for i := range others {
			if _, err := o.AppendToStream(t.Context(), "$stats-"+strconv.Itoa(i), esdb.AppendToStreamOptions{},
				esdb.EventData{EventType: "$stats", ContentType: esdb.ContentTypeJson, Data: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	grow(t, s, 1)
	var saw witness
	for rec, err := range s.ReadAll(t.Context(), 0) {
		if err == nil {
			err = saw.see(rec)
		}
		if err != nil {
			t.Fatalf("behind %d records: %v", len(saw.seen), err)
		}
		if len(saw.seen) == 1 {
			for i := range others {
				if _, err := o.DeleteStream(t.Context(), "$stats-"+strconv.Itoa(i), esdb.DeleteStreamOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if node.Scavenge() < others {
				t.Fatal("nothing was scavenged")
			}
		}
	}
	if len(saw.seen) != rounds+1 {
		t.Errorf("it saw %d records", len(saw.seen))
	}
}

// TestNewest_IsWhatTheDatabaseHolds: what another process wrote counts, though nothing brought it here yet.
func TestNewest_IsWhatTheDatabaseHolds(t *testing.T) {
	t.Parallel()
	faults := esdbtest.NewFaults(seeded(t))
	faults.Set(esdbtest.SilentSubscription, esdbtest.Chance(1))
	node := esdbtest.Start(t, esdbtest.WithFaults(faults))
	cfg := Config{ConnectionString: node.ConnectionString()}
	cfg.silence = time.Hour // the silence is not found out, so the feed brings nothing
	s, other := open(t, cfg), open(t, cfg)
	if pos, err := s.Newest(t.Context()); err != nil || pos != 0 {
		t.Errorf("an empty database: %d, %v", pos, err)
	}
	on := freshStream()
	answer, err := other.Append(t.Context(), on, domain.NoStream, some(on, 3))
	if err != nil {
		t.Fatal(err)
	}
	if pos, err := s.Newest(t.Context()); err != nil || pos != answer.Position {
		t.Errorf("%d, %v, want %d", pos, err, answer.Position)
	}
	if head := s.Head(); head != 0 {
		t.Errorf("the feed brought position %d: the test shows nothing", head)
	}
}
