package eventstore

import (
	"context"
	"fmt"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/domain"
)

// Bare is the client with nothing of ours around it: one connection, and each append sent once. It is the yardstick of
// what the store costs, for benchmarks. No ledger is ever written with it.
type Bare struct{ client *esdb.Client }

// Prepared is an append to a new stream, encoded as the store does it.
type Prepared struct {
	stream string
	events []esdb.EventData
}

// DialBare connects as Open does.
func DialBare(ctx context.Context, cfg Config) (*Bare, error) {
	conf, err := cfg.parse()
	if err != nil {
		return nil, err
	}
	client, err := (&dialer{conf: conf, deadline: defaultDeadline}).dial(ctx)
	if err != nil {
		return nil, err
	}
	return &Bare{client}, nil
}

// Prepare encodes records.
func Prepare(stream domain.Stream, records []domain.Record) (Prepared, error) {
	events, err := encode(stream, domain.NoStream, records)
	return Prepared{string(stream), events}, err
}

// Append writes to a stream that does not exist.
func (b *Bare) Append(ctx context.Context, p Prepared) error {
	_, err := b.client.AppendToStream(ctx, p.stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}},
		p.events...)
	if err != nil {
		return fmt.Errorf("append to %s: %w", p.stream, err)
	}
	return nil
}

// Close ends the connection. No append may be under way.
func (b *Bare) Close() error { return b.client.Close() }
