package eventstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/eventstore/esdbtest"
)

// operator is somebody with a client of their own.
func operator(t *testing.T, node *esdbtest.Server) *esdb.Client {
	t.Helper()
	bare, err := DialBare(t.Context(), Config{ConnectionString: node.ConnectionString()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bare.Close() })
	return bare.client
}

// readFrom reads everything behind the position, and gives the error.
func readFrom(t *testing.T, s *Store, after domain.Position) error {
	t.Helper()
	for _, err := range s.ReadAll(t.Context(), after) {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestIntegrity_NoticesWhatAnOperatorDoes: each thing that takes records out, or will, ends the store with a message
// that says what was done, where, and what to do about it. It is noticed as it happens, and by who reads past it later.
func TestIntegrity_NoticesWhatAnOperatorDoes(t *testing.T) {
	t.Parallel()
	age, count := 24*time.Hour, uint64(1)
	for name, c := range map[string]struct {
		do   func(*esdb.Client, string) error
		want string // behind the stream's name
	}{
		"deletes a stream": {func(o *esdb.Client, on string) error {
			_, err := o.DeleteStream(t.Context(), on, esdb.DeleteStreamOptions{})
			return err
		}, "the metadata of the stream STREAM at position * says $tb 9223372036854775807, which hides its records, and a " +
			"scavenge deletes them: run no scavenge, and write the stream's metadata again without that; if there was a " +
			"scavenge, restore a backup"},
		"deletes a stream for ever": {func(o *esdb.Client, on string) error {
			_, err := o.TombstoneStream(t.Context(), on, esdb.TombstoneStreamOptions{})
			return err
		}, "the stream STREAM was deleted: stop whoever does this, and restore the database from a backup"},
		"sets $maxAge": {func(o *esdb.Client, on string) error {
			var m esdb.StreamMetadata
			m.SetMaxAge(age)
			_, err := o.SetStreamMetadata(t.Context(), on, esdb.AppendToStreamOptions{}, m)
			return err
		}, "the metadata of the stream STREAM at position * says $maxAge 86400, which hides its records, and a scavenge " +
			"deletes them: run no scavenge, and write the stream's metadata again without that; if there was a scavenge, " +
			"restore a backup"},
		"sets $maxCount": {func(o *esdb.Client, on string) error {
			var m esdb.StreamMetadata
			m.SetMaxCount(count)
			_, err := o.SetStreamMetadata(t.Context(), on, esdb.AppendToStreamOptions{}, m)
			return err
		}, "the metadata of the stream STREAM at position * says $maxCount 1, which hides its records, and a scavenge " +
			"deletes them: run no scavenge, and write the stream's metadata again without that; if there was a scavenge, " +
			"restore a backup"},
		"writes something else": {func(o *esdb.Client, on string) error {
			_, err := o.AppendToStream(t.Context(), on, esdb.AppendToStreamOptions{}, esdb.EventData{EventType: "Note",
				ContentType: esdb.ContentTypeJson, Data: []byte("{}")})
			return err
		}, "event * at position *, revision 3 of STREAM, is no record of hookledger: nobody else may write to the ledger's " +
			"streams: restore the database from a backup: decode the metadata of Note, record *: byte 0: not the canonical " +
			`{"version":`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := esdbtest.Start(t)
			cfg := Config{ConnectionString: node.ConnectionString()}
			s := openAny(t, cfg)
			on := freshStream()
			if _, err := s.Append(t.Context(), on, domain.NoStream, some(on, 3)); err != nil {
				t.Fatal(err)
			}
			want := "the ledger was changed behind its back: " + strings.ReplaceAll(c.want, "STREAM", string(on))
			if err := c.do(operator(t, node), string(on)); err != nil {
				t.Fatal(err)
			}
			<-s.Failed()
			if got := s.Err().Error(); !matches(got, want) || domain.Code(s.Err()) != "ledger_tampered" {
				t.Errorf("it is noticed as\n%s\nwant\n%s", got, want)
			}
			if _, err := s.Append(t.Context(), on, 2, some(on, 1)); !errors.Is(err, ledger.ErrClosed) ||
				domain.Code(err) != "ledger_tampered" {
				t.Errorf("an append is answered %v", err)
			}
			for _, err := range []error{readFrom(t, s, 0), s.Wait(t.Context(), 0), s.Ready(t.Context())} {
				if !errors.Is(err, ledger.ErrClosed) {
					t.Errorf("a read ends with %v", err)
				}
			}

			// One that is opened later reads past it, in chunks or live.
			cfg.tailRecords = 1
			later, err := Open(t.Context(), patient(cfg))
			if err != nil { // the newest event is what it trips over
				if !matches(err.Error(), want) {
					t.Errorf("opened later: %v", err)
				}
				return
			}
			defer later.Close()
			<-later.Failed()
			if got := later.Err().Error(); !matches(got, want) {
				t.Errorf("later it is noticed as\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// matches compares with a text in which a * stands for anything.
func matches(got, want string) bool {
	parts := strings.Split(want, "*")
	for i, part := range parts {
		at := strings.Index(got, part)
		if at < 0 || i == 0 && at != 0 {
			return false
		}
		got = got[at+len(part):]
	}
	return got == "" || parts[len(parts)-1] == ""
}

// TestIntegrity_WhatIsHarmlessIsLeftAlone: access lists, settings that were taken back, and other streams.
func TestIntegrity_WhatIsHarmlessIsLeftAlone(t *testing.T) {
	t.Parallel()
	node := esdbtest.Start(t)
	cfg := Config{ConnectionString: node.ConnectionString()}
	o := operator(t, node)
	on, at := freshStream(), domain.NoStream
	s := open(t, cfg)
	first := some(on, 3)
	done, err := s.Append(t.Context(), on, at, first)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var m, none esdb.StreamMetadata
	m.SetMaxAge(time.Hour)
	none.AddCustomProperty("owner", "ledger")
	for _, set := range []esdb.StreamMetadata{m, none} {
		if _, err := o.SetStreamMetadata(t.Context(), string(on), esdb.AppendToStreamOptions{}, set); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"order-1", "event-1", "delivery"} {
		if _, err := o.AppendToStream(t.Context(), other, esdb.AppendToStreamOptions{},
			esdb.EventData{EventType: "e"}); err != nil {
			t.Fatal(err)
		}
		if _, err := o.DeleteStream(t.Context(), other, esdb.DeleteStreamOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, cfg)
	if _, err := s.Append(t.Context(), on, done.Revision, some(on, 1)); err != nil {
		t.Fatal(err)
	}
	var saw witness
	for rec, err := range s.ReadAll(t.Context(), 0) {
		if err == nil {
			err = saw.see(rec)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(saw.seen) != 4 {
		t.Errorf("there are %d records", len(saw.seen))
	}
}

// TestIntegrity_NoticesWhatIsGone: records that a scavenge took while nobody looked.
func TestIntegrity_NoticesWhatIsGone(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*esdbtest.Server, Config, domain.Stream, []ledger.Appended) {
		node := esdbtest.Start(t)
		cfg := Config{ConnectionString: node.ConnectionString()}
		cfg.tailRecords, cfg.chunk = 1, 2
		s := open(t, cfg)
		on := freshStream()
		var answers []ledger.Appended
		at := domain.NoStream
		for range 6 {
			done, err := s.Append(t.Context(), on, at, some(on, 1))
			if err != nil {
				t.Fatal(err)
			}
			answers, at = append(answers, done), done.Revision
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		// Revisions 0 to 2 go, and nothing tells any more that they were there.
		o := operator(t, node)
		var m, none esdb.StreamMetadata
		m.SetTruncateBefore(3)
		for i, set := range []esdb.StreamMetadata{m, none} {
			if _, err := o.SetStreamMetadata(t.Context(), string(on), esdb.AppendToStreamOptions{}, set); err != nil {
				t.Fatal(err)
			}
			if i == 0 && node.Scavenge() == 0 {
				t.Fatal("nothing was scavenged")
			}
		}
		return node, cfg, on, answers
	}
	t.Run("by who loads the stream", func(t *testing.T) {
		t.Parallel()
		_, cfg, on, _ := setup(t)
		s := openAny(t, cfg)
		var got error
		for _, err := range s.ReadStream(t.Context(), on, 0) {
			got = err
		}
		want := "read " + string(on) + ": ledger: the store is closed: the ledger was changed behind its back: " +
			string(on) + " begins with revision 3 where revision 0 is due: what stood before was deleted: stop whoever does " +
			"this, and restore the database from a backup"
		if got == nil || got.Error() != want || s.Err() == nil {
			t.Errorf("it is noticed as\n%v\nwant\n%s", got, want)
		}
	})
	t.Run("by who reads from the start", func(t *testing.T) {
		t.Parallel()
		_, cfg, on, _ := setup(t)
		s := openAny(t, cfg)
		err := readFrom(t, s, 0)
		want := "read from behind position 0: ledger: the store is closed: the ledger was changed behind its back: on " +
			string(on) + " revision 3 follows -1: what stood between them was deleted: stop whoever does this, and restore " +
			"the database from a backup"
		if err == nil || err.Error() != want {
			t.Errorf("it is noticed as\n%v\nwant\n%s", err, want)
		}
	})
	t.Run("by who goes on from there", func(t *testing.T) {
		t.Parallel()
		_, cfg, _, answers := setup(t)
		s := open(t, cfg)
		if err := readFrom(t, s, answers[1].Position); !errors.Is(err, ledger.ErrPosition) ||
			domain.Code(err) != "unknown_position" {
			t.Errorf("it is noticed as %v", err)
		}
		if err := readFrom(t, s, answers[4].Position); err != nil {
			t.Errorf("from a record that is there: %v", err)
		}
	})
	t.Run("by who has read it", func(t *testing.T) {
		t.Parallel()
		node, cfg, on, answers := setup(t)
		s := openAny(t, cfg)
		for rec, err := range s.ReadAll(t.Context(), answers[3].Position-1) { // it leaves at revision 3
			if err != nil || rec.Revision != 3 {
				t.Fatalf("%+v, %v", rec, err)
			}
			break
		}
		o := operator(t, node)
		var m, none esdb.StreamMetadata
		m.SetTruncateBefore(5)
		for i, set := range []esdb.StreamMetadata{m, none} {
			if _, err := o.SetStreamMetadata(t.Context(), string(on), esdb.AppendToStreamOptions{}, set); err != nil {
				t.Fatal(err)
			}
			if i == 0 && node.Scavenge() == 0 {
				t.Fatal("nothing was scavenged")
			}
		}
		if err := readFrom(t, s, answers[3].Position); !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("it is noticed as %v", err)
		}
	})
}

// TestIntegrity_AnotherDatabase: the server came back with an older state, or with that of another ledger.
func TestIntegrity_AnotherDatabase(t *testing.T) {
	t.Parallel()
	node := esdbtest.Start(t)
	at := node.Address()
	s := openAny(t, Config{ConnectionString: node.ConnectionString()})
	on := freshStream()
	for i := range 5 {
		if _, err := s.Append(t.Context(), on, domain.Revision(i-1), some(on, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Wait(t.Context(), s.Head()-1); err != nil {
		t.Fatal(err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	esdbtest.Start(t, esdbtest.WithAddress(at))
	<-s.Failed()
	if got, want := s.Err().Error(), "the last record that was seen is gone: the ledger was changed behind its back: record "+
		"* does not stand at position * any more: the database was replaced by an older or another one: restore the newest "+
		"backup of this ledger, or connect to the right database"; !matches(got, want) {
		t.Errorf("it is noticed as\n%s\nwant\n%s", got, want)
	}
}

// TestFeed_Silence: a subscription that says nothing any more is made anew, whether something is known to be missing or
// not.
func TestFeed_Silence(t *testing.T) {
	t.Parallel()
	for _, missing := range []bool{true, false} {
		faults := esdbtest.NewFaults(seeded(t))
		node := esdbtest.Start(t, esdbtest.WithFaults(faults))
		cfg := Config{ConnectionString: node.ConnectionString(), Metrics: prometheus.NewRegistry()}
		cfg.lag, cfg.silence = 50*time.Millisecond, time.Hour
		if !missing {
			cfg.lag, cfg.silence = 20*time.Millisecond, 50*time.Millisecond
		}
		s := open(t, cfg)
		on := freshStream()
		writer := s
		if !missing { // somebody else writes, so that only the heartbeat can tell
			writer = open(t, Config{ConnectionString: node.ConnectionString()})
		}
		if _, err := writer.Append(t.Context(), on, domain.NoStream, some(on, 1)); err != nil {
			t.Fatal(err)
		}
		if err := s.Wait(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if !missing {
			if err := writer.Wait(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		at := s.Head()
		faults.Set(esdbtest.SilentSubscription, esdbtest.Next(1))
		done, err := writer.Append(t.Context(), on, 0, some(on, 1))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := s.Wait(ctx, at); err != nil || s.Head() != done.Position {
			t.Errorf("missing %v: head %d, wait %v", missing, s.Head(), err)
		}
		cancel()
		if missing && metric(t, s, "hookledger_eventstore_resubscriptions_total", silent) == 0 {
			t.Error("it is not counted")
		}
	}
}
