package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"hookledger/cmd/hookledger/bench"
	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/eventstore"
)

// benchElsewhere is what bench is told about a ledger in EventStoreDB, which must be empty: what bench writes can't be
// deleted, and its keys are gone with its data directory.
func benchElsewhere(ctx context.Context, c storeConfig) (_ *bench.Elsewhere, err error) {
	store, err := dialEventstore(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	switch id, _, err := ledger.Identify(ctx, store); {
	case err != nil:
		return nil, err
	case id != "":
		return nil, usage("the EventStoreDB holds a ledger, and what bench writes there could never be deleted",
			"name an empty one, which nobody needs afterwards")
	}
	return &bench.Elsewhere{
		Env: []string{variable("store") + "=" + c.Kind, variable("eventstore") + "=" + c.Connection.Reveal(),
			envPrefix + "EVENTSTORE_USERNAME=" + c.Username, envPrefix + "EVENTSTORE_PASSWORD=" + c.Password.Reveal()},
		Appends: func(ctx context.Context, n int) (*bench.AppendLoops, error) { return appendLoops(ctx, c, n) },
	}, nil
}

// appendLoops makes the appends of n events, as intake makes them, for the store and once more for the client alone.
func appendLoops(ctx context.Context, c storeConfig, n int) (*bench.AppendLoops, error) {
	type appending struct {
		stream  domain.Stream
		records []domain.Record
	}
	ours, theirs := make([]appending, n), make([]eventstore.Prepared, n)
	for i := range n {
		stream, records := benchEvent()
		ours[i] = appending{stream, records}
		stream, records = benchEvent()
		var err error
		if theirs[i], err = eventstore.Prepare(stream, records); err != nil {
			return nil, err
		}
	}
	store, err := dialEventstore(ctx, c)
	if err != nil {
		return nil, err
	}
	client, err := eventstore.DialBare(ctx, eventstore.Config{ConnectionString: c.Connection.Reveal(),
		Username: c.Username, Password: c.Password})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &bench.AppendLoops{
		Store: func(ctx context.Context, i int) error {
			_, err := store.Append(ctx, ours[i].stream, domain.NoStream, ours[i].records)
			return err
		},
		Client: func(ctx context.Context, i int) error { return client.Append(ctx, theirs[i]) },
		Settle: func(ctx context.Context) error {
			stream, records := benchEvent()
			last, err := store.Append(ctx, stream, domain.NoStream, records)
			if err != nil {
				return err
			}
			return store.Wait(ctx, last.Position-1)
		},
		Close: func() error { return errors.Join(client.Close(), store.Close()) },
	}, nil
}

// benchEvent is an event that goes to one endpoint, of the size that bench publishes.
func benchEvent() (domain.Stream, []domain.Record) {
	const tenant, sealed = "bench", 450
	stamp := domain.Stamp{At: now(), Base: newID(), Actor: domain.System("bench")}
	id := domain.NewID(domain.PrefixEvent, stamp.Base)
	content := &domain.Sealed{KeyID: domain.NewID("dk", newID()), Nonce: make([]byte, 12),
		Ciphertext: make([]byte, sealed)}
	_, _ = rand.Read(content.Ciphertext) // never fails
	stream := domain.EventStream(tenant, id)
	return stream, stamp.Records(stream, tenant, id, ulid.Zero,
		&domain.EventReceived{ID: id, Event: "agent.status_changed", SchemaVersion: 1, Timestamp: stamp.At,
			ContentType: "application/json", Content: content, Size: sealed},
		&domain.EventRouted{RoutedAsOf: stamp.Base, Matches: []domain.Match{{Endpoint: domain.NewID(domain.PrefixEndpoint,
			newID()), Delivery: domain.NewID(domain.PrefixDelivery, newID())}}})
}

// countRecords counts the records of a ledger that no server uses.
func countRecords(ctx context.Context, dataDir string, c storeConfig) (n int64, err error) {
	store, err := openStore(ctx, dataDir, c)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for _, rerr := range store.ReadAll(ctx, 0) {
		if rerr != nil {
			return n, fmt.Errorf("count the records: %w", rerr)
		}
		n++
	}
	return n, nil
}
