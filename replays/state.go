package replays

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// maxTurns bounds how often a decision is taken anew because the stream moved on.
const maxTurns = 20

// Refresh evolves a state that was kept by what its stream holds behind it.
func Refresh(ctx context.Context, r ledger.Reader, tenant, id string, state *domain.Replay) error {
	for rec, err := range r.ReadStream(ctx, domain.ReplayStream(tenant, id), state.Revision+1) {
		if err != nil {
			return fmt.Errorf("read replay %s: %w", id, err)
		}
		if u, ok := rec.Fact.(*domain.Unknown); ok {
			return fmt.Errorf("read replay %s: record %s, %s: %w", id, rec.ID, u.Type, ledger.ErrNewerFormat)
		}
		state.Evolve(rec)
	}
	return nil
}

// Decide brings the state up to date, asks decide, and appends what it decides; on a conflict it does so again with
// what is there by then. The state is that of a read model: a stream of many pages is not read from its beginning.
func Decide(ctx context.Context, s ledger.Store, state *domain.Replay, stamp func() domain.Stamp,
	decide func(*domain.Replay) ([]domain.Fact, error)) (ledger.Appended, error) {
	stream := domain.ReplayStream(state.Tenant, state.ID)
	for range maxTurns {
		if err := Refresh(ctx, s, state.Tenant, state.ID, state); err != nil {
			return ledger.Appended{}, err
		}
		facts, err := decide(state)
		if err != nil || len(facts) == 0 {
			return ledger.Appended{Revision: state.Revision}, err
		}
		records := stamp().Records(stream, state.Tenant, "", state.LastRecord, facts...)
		done, err := ledger.AppendKnown(ctx, s, stream, state.Revision, records)
		if errors.Is(err, ledger.ErrConflict) {
			continue
		}
		if err == nil {
			ledger.Fold(state, state.Revision, records)
		}
		return done, err
	}
	return ledger.Appended{}, fmt.Errorf("replay %s after %d turns: %w", state.ID, maxTurns, ledger.ErrConflict)
}

// Opener opens sealed content; *vault.Vault is one.
type Opener interface {
	Open(ctx context.Context, p vault.Place, s *domain.Sealed) ([]byte, error)
}

// Content opens what somebody asked for. An erased one gives vault.ErrErased.
func Content(ctx context.Context, v Opener, r *domain.Replay) (c domain.ReplayContent, err error) {
	plain, err := v.Open(ctx, vault.Place{Tenant: r.Tenant, Stream: domain.ReplayStream(r.Tenant, r.ID),
		Record: r.RequestRecord, Type: (*domain.ReplayRequested)(nil).RecordType()}, r.Request.Content)
	if err != nil {
		return c, fmt.Errorf("open the selector of replay %s: %w", r.ID, err)
	}
	if err := json.Unmarshal(plain, &c); err != nil {
		return c, fmt.Errorf("the selector of replay %s can't be read", r.ID)
	}
	return c, nil
}

// derived is the id of a record of the replay that follows from what stands there: written twice it is a duplicate.
func derived(r *domain.Replay, what string) ulid.ULID {
	return domain.DerivedID(r.RequestedAt, "replay", r.Tenant, r.ID, what, r.LastRecord.String())
}
