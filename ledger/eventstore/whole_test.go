package eventstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/eventstore"
	"hookledger/ledger/eventstore/esdbtest"
	"hookledger/ledger/ledgercopy"
)

const victim domain.Stream = "delivery-t.b"

// foundLedger writes a small ledger and closes it.
func foundLedger(t *testing.T, conn string) {
	t.Helper()
	s, err := eventstore.Open(t.Context(), eventstore.Config{ConnectionString: conn})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Found(t.Context(), s, ulid.Make(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []domain.Stream{"delivery-t.a", victim, "delivery-t.c"} {
		stamp := domain.Stamp{At: time.Now(), Base: ulid.Make(), Actor: domain.System("test")}
		facts := []domain.Fact{&domain.RetryScheduled{}, &domain.RetryScheduled{}, &domain.RetryScheduled{}}
		if _, err := s.Append(t.Context(), stream, domain.NoStream, stamp.Records(stream, "t", "", ulid.ULID{},
			facts...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// surveyAfter reads the whole ledger, as hookledger ledger info does.
func surveyAfter(t *testing.T, conn string) error {
	t.Helper()
	s, err := eventstore.Open(t.Context(), eventstore.Config{ConnectionString: conn})
	if err != nil {
		return err
	}
	_, err = ledgercopy.Survey(t.Context(), s, nil)
	_ = s.Close() // it may have failed for good, which is what is looked for
	return err
}

// operator is one with a client of EventStoreDB's.
type operator struct{ c *esdb.Client }

func (o operator) maxCount(ctx context.Context, n uint64) error {
	meta := esdb.StreamMetadata{}
	if n > 0 {
		meta.SetMaxCount(n)
	}
	_, err := o.c.SetStreamMetadata(ctx, string(victim), esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, meta)
	return err
}

func (o operator) remove(ctx context.Context) error {
	_, err := o.c.DeleteStream(ctx, string(victim), esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	return err
}

func (o operator) tombstone(ctx context.Context) error {
	_, err := o.c.TombstoneStream(ctx, string(victim), esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}})
	return err
}

func (o operator) write(ctx context.Context) error {
	_, err := o.c.AppendToStream(ctx, string(victim), esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}},
		esdb.EventData{EventType: "Other", ContentType: esdb.ContentTypeJson, Data: []byte("{}")})
	return err
}

// TestAReadingOfTheWholeLedgerNoticesWhatAnOperatorDid is what docs/eventstoredb.md says about retention, deletes and
// scavenges.
func TestAReadingOfTheWholeLedgerNoticesWhatAnOperatorDid(t *testing.T) {
	t.Parallel()
	maxCount := func(o operator, ctx context.Context) error { return o.maxCount(ctx, 1) }
	for name, c := range map[string]struct {
		do       func(operator, context.Context) error
		scavenge bool
		after    func(operator, context.Context) error
		says     string // "": nothing is wrong
	}{
		"a scavenge alone":           {scavenge: true},
		"$maxCount":                  {do: maxCount, says: "$maxCount"},
		"$maxCount and a scavenge":   {do: maxCount, scavenge: true, says: "$maxCount"},
		"a delete":                   {do: operator.remove, says: "$tb"},
		"a delete and a scavenge":    {do: operator.remove, scavenge: true, says: "$tb"},
		"a tombstone":                {do: operator.tombstone, says: "was deleted"},
		"a tombstone and a scavenge": {do: operator.tombstone, scavenge: true, says: "was deleted"},
		"somebody's event":           {do: operator.write, says: "is no record of hookledger"},
		"$maxCount, a scavenge, and then as if nothing had been": {do: maxCount, scavenge: true,
			after: func(o operator, ctx context.Context) error { return o.maxCount(ctx, 0) }, says: string(victim)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := esdbtest.Start(t)
			foundLedger(t, node.ConnectionString())
			conf, err := esdb.ParseConnectionString(node.ConnectionString())
			if err != nil {
				t.Fatal(err)
			}
			conf.Logger = esdb.NoopLogging()
			client, err := esdb.NewClient(conf)
			if err != nil {
				t.Fatal(err)
			}
			if c.do != nil {
				err = c.do(operator{client}, t.Context())
			}
			if c.scavenge {
				node.Scavenge()
			}
			if c.after != nil {
				err = errors.Join(err, c.after(operator{client}, t.Context()))
			}
			if err := errors.Join(err, client.Close()); err != nil {
				t.Fatal(err)
			}
			err = surveyAfter(t, node.ConnectionString())
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, it should say %q", err, c.says)
			}
		})
	}
}
