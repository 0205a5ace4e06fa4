package ledger

import (
	"context"

	"hookledger/domain"
)

// Follow hands every record after the position to fn, in order, in batches of at most size, and waits for more: until
// ctx ends, whose error it returns, or fn or the store fails. A batch is never empty, and fn must not keep the slice.
// fn's error ends Follow as it is; the caller starts again behind what it has dealt with.
func Follow(ctx context.Context, r Reader, after domain.Position, size int, fn func([]*domain.Record) error) error {
	batch := make([]*domain.Record, 0, size)
	for {
		for rec, err := range r.ReadAll(ctx, after) {
			if err != nil {
				return err
			}
			batch = append(batch, rec)
			after = rec.Position
			if len(batch) == size {
				if err := fn(batch); err != nil {
					return err
				}
				batch = batch[:0]
			}
		}
		if len(batch) > 0 {
			if err := fn(batch); err != nil {
				return err
			}
			batch = batch[:0]
			continue
		}
		if err := r.Wait(ctx, after); err != nil {
			return err
		}
	}
}
