package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"hookledger/domain"
)

// Aggregate is what Execute folds: a pointer to a state.
type Aggregate interface {
	Evolve(*domain.Record)
}

// maxConflicts bounds the turns of Execute; a stream that is contended longer than this is answered ErrConflict.
const maxConflicts = 20

// Load folds a stream into the state that fresh gives and says at which revision it is. A record that this binary can't
// read is ErrNewerFormat: nothing may be decided without knowing what it says.
func Load[A Aggregate](ctx context.Context, r Reader, stream domain.Stream,
	fresh func() A) (A, domain.Revision, error) {
	state, at := fresh(), domain.NoStream
	for rec, err := range r.ReadStream(ctx, stream, 0) {
		if err != nil {
			return state, at, fmt.Errorf("load %s: %w", stream, err)
		}
		if u, ok := rec.Fact.(*domain.Unknown); ok {
			return state, at, fmt.Errorf("load %s: record %s, %s version %d: %w", stream, rec.ID, u.Type, u.Version,
				ErrNewerFormat)
		}
		state.Evolve(rec)
		at = rec.Revision
	}
	return state, at, nil
}

// Execute loads the stream, asks decide, and appends what it decides; on a conflict it does so again with what is there
// by then, and on an unknown outcome it repeats the same append until the answer is known or ctx ends. A decision
// without records appends nothing. decide may be called several times, and must give fresh record ids each time.
func Execute[A Aggregate](ctx context.Context, s Store, stream domain.Stream, fresh func() A,
	decide func(A) ([]domain.Record, error)) (A, Appended, error) {
	for range maxConflicts {
		state, at, err := Load(ctx, s, stream, fresh)
		if err != nil {
			return state, Appended{}, err
		}
		records, err := decide(state)
		if err != nil {
			return state, Appended{}, err
		}
		if len(records) == 0 {
			return state, Appended{Revision: at}, nil
		}
		done, err := AppendKnown(ctx, s, stream, at, records)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return state, Appended{}, err
		}
		Fold(state, at, records)
		return state, done, nil
	}
	return fresh(), Appended{}, fmt.Errorf("%s after %d turns: %w", stream, maxConflicts, ErrConflict)
}

// Waits between repeats of an append whose outcome is unknown.
const (
	firstRepeat   = 2 * time.Millisecond
	longestRepeat = time.Second
)

// AppendKnown is Append that repeats itself, with the same ids and revision, while the outcome is unknown and ctx
// lives. Once it is unknown, that a repeat could not be tried does not make it known: the error then stays
// ErrUnknownOutcome.
func AppendKnown(ctx context.Context, s Store, stream domain.Stream, expected domain.Revision,
	records []domain.Record) (Appended, error) {
	unknown := false
	for longest := firstRepeat; ; longest = min(2*longest, longestRepeat) {
		done, err := s.Append(ctx, stream, expected, records)
		switch {
		case errors.Is(err, ErrUnknownOutcome):
			unknown = true
		case unknown && errors.Is(err, ErrUnavailable):
			err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		case unknown && errors.Is(err, ErrClosed):
			return done, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		default:
			return done, err
		}
		if errors.Is(err, ErrClosed) || !Pause(ctx, longest) {
			return done, err
		}
	}
}

// Pause waits for a random time, from half of the longest to the longest, so that those who failed together do not
// come back together; false: ctx ended first.
func Pause(ctx context.Context, longest time.Duration) bool {
	t := time.NewTimer(longest/2 + rand.N(longest/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Fold evolves a state by records that were appended behind revision at, without reading them back.
func Fold[A Aggregate](state A, at domain.Revision, records []domain.Record) {
	r := &domain.Record{} // one for all: Evolve keeps none
	for i := range records {
		*r = records[i]
		r.Revision = at + 1 + domain.Revision(i)
		state.Evolve(r)
	}
}
