package ledgercopy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// flaky is a reader of five records that fails behind each of them, away for a while; the error is its own.
type flaky struct {
	err  error
	away time.Duration
	next time.Time
}

func (f *flaky) ReadAll(_ context.Context, after domain.Position) iter.Seq2[*domain.Record, error] {
	return func(yield func(*domain.Record, error) bool) {
		if after == 5 {
			return
		}
		if !f.next.IsZero() && time.Now().Before(f.next) {
			yield(nil, f.err)
			return
		}
		if yield(&domain.Record{ID: ulid.ULID{1}, Position: after + 1}, nil) {
			f.next = time.Now().Add(f.away)
			yield(nil, f.err)
		}
	}
}

func (f *flaky) ReadStream(context.Context, domain.Stream, domain.Revision) iter.Seq2[*domain.Record, error] {
	return func(func(*domain.Record, error) bool) {}
}
func (f *flaky) Wait(context.Context, domain.Position) error { return nil }
func (f *flaky) Head() domain.Position                       { return 5 }

func TestRead_WaitsForAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	away := fmt.Errorf("a new leader: %w", ledger.ErrUnavailable)
	for _, c := range []struct {
		name string
		err  error
		away time.Duration
		want domain.Position
	}{
		{"for a minute, five times", away, time.Minute, 5},
		{"for good", away, time.Hour, 1},
		{"with an error that stays", errors.New("torn"), 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var last domain.Position
				var failed error
				for rec, err := range read(t.Context(), &flaky{err: c.err, away: c.away}, 0) {
					if failed = err; err != nil {
						break
					}
					if rec.Position != last+1 {
						t.Errorf("%d follows %d", rec.Position, last)
					}
					last = rec.Position
				}
				if last != c.want || (last < 5) != errors.Is(failed, c.err) {
					t.Errorf("read up to %d: %v", last, failed)
				}
			})
		})
	}
}

func TestRead_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		for _, err := range read(ctx, &flaky{err: ledger.ErrUnavailable, away: time.Hour}, 0) {
			if err != nil && !errors.Is(err, ledger.ErrUnavailable) {
				t.Error(err)
			}
		}
		if time.Since(begun) > 2*time.Second {
			t.Error("it waited on")
		}
	})
}
