package storetest

import (
	"context"
	"iter"

	"hookledger/domain"
	"hookledger/ledger"
)

// Sparse gives the store with positions that are large and far apart, by unequal steps, as those of a store are that
// counts the bytes of its log. It is for the tests of whoever reads a ledger: a position is opaque and ordered, and
// whoever counts with it fails here.
func Sparse(s ledger.Store) ledger.Store { return sparse{s} }

type sparse struct{ ledger.Store }

const (
	sparseBase = 1 << 40
	sparseStep = 1009
)

// place is where the record at a dense position stands; it rises, for 7*83 is less than a step.
func (sparse) place(dense domain.Position) domain.Position {
	if dense == 0 {
		return 0
	}
	return sparseBase + dense*sparseStep + dense%7*83
}

// dense is the last dense position that stands at or before a place.
func (s sparse) dense(place domain.Position) domain.Position {
	if place < s.place(1) {
		return 0
	}
	dense := (place - sparseBase) / sparseStep
	if s.place(dense) > place {
		dense--
	}
	return dense
}

func (s sparse) Append(ctx context.Context, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	done, err := s.Store.Append(ctx, stream, expected, records)
	done.Position = s.place(done.Position)
	return done, err
}

func (s sparse) ReadStream(ctx context.Context, stream domain.Stream,
	from domain.Revision) iter.Seq2[*domain.Record, error] {
	return s.placed(s.Store.ReadStream(ctx, stream, from))
}

func (s sparse) ReadAll(ctx context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	return s.placed(s.Store.ReadAll(ctx, s.dense(after)))
}

// placed gives copies, for records are shared.
func (s sparse) placed(records iter.Seq2[*domain.Record, error]) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		for r, err := range records {
			if err == nil {
				c := *r
				c.Position = s.place(r.Position)
				r = &c
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func (s sparse) Wait(ctx context.Context, after domain.Position) error {
	return s.Store.Wait(ctx, s.dense(after))
}

func (s sparse) Head() domain.Position { return s.place(s.Store.Head()) }
