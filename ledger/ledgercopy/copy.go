package ledgercopy

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"hookledger/domain"
	"hookledger/ledger"
)

// Errors that callers branch on.
var (
	// ErrEmpty: the source holds no ledger.
	ErrEmpty = errors.New("there is no ledger at the source")
	// ErrForeign: what stands at the target is no copy of the source's beginning. Nothing was written.
	ErrForeign = errors.New("the target holds something else")
	// ErrGrown: the source was written to meanwhile. What had been there before was copied, and is good.
	ErrGrown = errors.New("the source has grown meanwhile")
	// ErrLost: a record of the source follows on one that neither the source showed nor the target has.
	ErrLost = errors.New("records are missing")
	// ErrDiffers: what was read back from the target is not what the source holds.
	ErrDiffers = errors.New("the copy differs from the source")
)

// Config of a copy.
type Config struct {
	From ledger.Reader
	To   ledger.Store
	// Source is what Survey said of From.
	Source Summary
	// Compared is told how many records of the target were found to be the source's; may be nil.
	Compared func(records int64)
	// Met is told, once, how many records were at the target already, before anything is written; its error ends the
	// copy. Copied is told after each append how many are there by now, and Checked how many were read back. Each may be
	// nil.
	Met     func(records int64) error
	Copied  func(records int64)
	Checked func(records int64)
}

// Result is what a copy did.
type Result struct {
	Met     int64 // records that were at the target already
	Written int64
	Appends int64
	Target  Summary // as it was read back
}

// Run copies, and reads the copy back. Run again after it was interrupted, it goes on where it was. The errors are
// those above, the stores' own, ledger.ErrNewerFormat, and ctx's.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if cfg.Source.Records == 0 {
		return Result{}, ErrEmpty
	}
	c := &copier{cfg: cfg, sum: newSummer()}
	next, stop := iter.Pull2(read(ctx, cfg.From, 0))
	defer stop()
	c.next = next
	if err := c.meet(ctx); err != nil {
		return c.done, err
	}
	if cfg.Met != nil {
		if err := cfg.Met(c.done.Met); err != nil {
			return c.done, err
		}
	}
	if err := c.copy(ctx); err != nil {
		return c.done, err
	}
	if d := c.sum.digest(); d != cfg.Source.Digest {
		return c.done, fmt.Errorf("read twice, the source gave %s and then %s: %w", cfg.Source.Digest, d, ErrDiffers)
	}
	var err error
	if c.done.Target, err = Survey(ctx, cfg.To, cfg.Checked); err != nil {
		return c.done, fmt.Errorf("read the copy back: %w", err)
	}
	if t := c.done.Target; t.Digest != cfg.Source.Digest {
		return c.done, fmt.Errorf("%d records with %s at the source, %d with %s at the target: %w", cfg.Source.Records,
			cfg.Source.Digest, t.Records, t.Digest, ErrDiffers)
	}
	end, err := newest(ctx, cfg.From)
	if err == nil && end > cfg.Source.End {
		err = ErrGrown
	}
	return c.done, err
}

// newest is the position of the source's last record. A store that others write to at the same time is asked for what
// the database holds: its Head knows of the others' records what was brought to it, which may be a moment ago.
func newest(ctx context.Context, from ledger.Reader) (domain.Position, error) {
	asked, ok := from.(interface {
		Newest(ctx context.Context) (domain.Position, error)
	})
	if !ok {
		return from.Head(), nil
	}
	end, err := asked.Newest(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask the source for its last record: %w", err)
	}
	return end, nil
}

func call(f func(int64), n int64) {
	if f != nil {
		f(n)
	}
}

// copier is one copy under way.
type copier struct {
	cfg  Config
	next func() (*domain.Record, error, bool) // of the source
	took int64                                // records taken from the source
	sum  summer                               // over them
	enc  encoded                              // of the last one
	done Result
}

// take gives the source's next record, and nil at the end of what the survey saw.
func (c *copier) take() (*domain.Record, error) {
	if c.took == c.cfg.Source.Records {
		return nil, nil
	}
	rec, err, more := c.next()
	if err != nil {
		return nil, err
	}
	if !more {
		return nil, fmt.Errorf("the source held %d records and ends after %d now: %w", c.cfg.Source.Records, c.took,
			ErrDiffers)
	}
	if err := c.enc.set(rec); err != nil {
		return nil, err
	}
	c.sum.add(&c.enc)
	c.took++
	return rec, nil
}

// meet reads what the target holds beside the source, which must begin with just that.
func (c *copier) meet(ctx context.Context) error {
	id, _, err := ledger.Identify(ctx, c.cfg.To)
	if err != nil {
		return fmt.Errorf("the target: %w", err)
	}
	if id != "" && id != c.cfg.Source.LedgerID {
		return fmt.Errorf("it is the ledger %s, and the source is %s: %w", id, c.cfg.Source.LedgerID, ErrForeign)
	}
	var theirs encoded
	for there, err := range read(ctx, c.cfg.To, 0) {
		if err == nil {
			err = theirs.set(there)
		}
		if err != nil {
			return fmt.Errorf("the target: %w", err)
		}
		rec, err := c.take()
		if err != nil {
			return err
		}
		if rec == nil {
			return fmt.Errorf("it has records behind the source's last one, from %s (%s, %s) on: it was written to by itself: %w",
				there.ID, there.Fact.RecordType(), there.Stream, ErrForeign)
		}
		if !theirs.equal(&c.enc) {
			return fmt.Errorf("its record number %d is %s (%s, %s), and the source's is %s (%s, %s): %w", c.took, there.ID,
				there.Fact.RecordType(), there.Stream, rec.ID, rec.Fact.RecordType(), rec.Stream, ErrForeign)
		}
		c.done.Met++
		call(c.cfg.Compared, c.done.Met)
	}
	return nil
}

// copy writes the rest of the source to the target: neighbours of one stream in one append, and one append at a time.
func (c *copier) copy(ctx context.Context) error {
	var m merger
	var batch []domain.Record
	for {
		rec, err := c.take()
		if err != nil {
			return err
		}
		if full := rec == nil || m.begins(rec, c.enc.size()); full && len(batch) > 0 {
			if err := c.write(ctx, batch); err != nil {
				return err
			}
			batch = nil // a store may still hold it, in an attempt that was given up
		}
		if rec == nil {
			return nil
		}
		batch = append(batch, *rec)
	}
}

// write appends until all of the batch is there. An append of a run that was killed may arrive late, and end elsewhere:
// then a part of the batch is there already, and the rest follows behind it.
func (c *copier) write(ctx context.Context, batch []domain.Record) error {
	var w waiter
	for len(batch) > 0 {
		done, err := c.cfg.To.Append(ctx, batch[0].Stream, batch[0].Revision-1, batch)
		switch {
		case err == nil:
			if !done.Duplicate {
				c.done.Appends++
			}
			c.done.Written += int64(len(batch))
			batch = nil
		case errors.Is(err, ledger.ErrConflict):
			n, err := c.there(ctx, batch)
			if err != nil {
				return err
			}
			c.done.Written += int64(n)
			batch = batch[n:]
		case !w.again(ctx, err):
			return fmt.Errorf("write to the target: %w", err)
		}
	}
	call(c.cfg.Copied, c.done.Met+c.done.Written)
	return nil
}

// there says how many of the batch's first records stand at the target; other ones are ErrForeign, and none ErrLost.
func (c *copier) there(ctx context.Context, batch []domain.Record) (int, error) {
	var mine, theirs encoded
	n := 0
	for rec, err := range c.cfg.To.ReadStream(ctx, batch[0].Stream, batch[0].Revision) {
		if err == nil {
			err = errors.Join(mine.set(&batch[n]), theirs.set(rec))
		}
		if err != nil {
			return 0, fmt.Errorf("read %s at the target: %w", batch[0].Stream, err)
		}
		if !mine.equal(&theirs) {
			return 0, fmt.Errorf("record %s came to %s, where the source has %s: %w", rec.ID, rec.Stream, batch[n].ID,
				ErrForeign)
		}
		if n++; n == len(batch) {
			break
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("%s does not reach revision %d at the target, behind which the source's next record stands: %w",
			batch[0].Stream, batch[0].Revision-1, ErrLost)
	}
	return n, nil
}
