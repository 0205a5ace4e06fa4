package projections

import (
	"context"
	"errors"
	"fmt"

	"hookledger/domain"
	"hookledger/vault"
)

// maxSliceBytes bounds the content that a slice holds in memory.
const maxSliceBytes = 8 << 20

// advance reads a slice behind the position, where the whole group stands, and indexes what is the tenants' of it.
func (t *TextSearch) advance(ctx context.Context, group []*textIndex, from, head domain.Position) error {
	docs := make(map[string][]textDoc, len(group))
	for _, x := range group {
		docs[x.tenant] = nil
	}
	var to checkpoint
	var failed *foldError
	var of string // whose record that is
	n, size := 0, 0
	for r, err := range t.cfg.Store.ReadAll(ctx, from) {
		if err != nil {
			return fmt.Errorf("read the ledger behind %d: %w", from, err)
		}
		if r.Position > head {
			break
		}
		if _, wanted := docs[r.Tenant]; wanted {
			doc, err := t.read(ctx, r)
			if err != nil {
				failed, of = &foldError{projection: "text-search", record: r.ID, err: err}, r.Tenant
				break
			}
			if doc != nil {
				docs[r.Tenant] = append(docs[r.Tenant], *doc)
				size += len(doc.body)
			}
		}
		to = checkpoint{position: r.Position, record: r.ID, stream: r.Stream, revision: r.Revision, at: micros(r.RecordedAt)}
		if n++; n == t.cfg.Slice || size >= maxSliceBytes {
			break
		}
	}
	if n == 0 && failed == nil {
		return fmt.Errorf("the ledger goes to position %d and shows no record behind %d", head, from)
	}
	for _, x := range group {
		if n > 0 {
			if err := x.add(context.WithoutCancel(ctx), docs[x.tenant], to); err != nil {
				return fmt.Errorf("write the index of texts of %s: %w", x.tenant, x.broken(err))
			}
			x.progress.reached(to.position, to.at)
		}
		if failed != nil && x.tenant == of {
			t.cfg.Logger.Error("the index of texts stopped", "tenant", x.tenant, "error", failed)
			x.progress.stop(failed)
		}
	}
	return nil
}

// read gives what is indexed of a record; nil: nothing, or nothing any more.
func (t *TextSearch) read(ctx context.Context, r *domain.Record) (*textDoc, error) {
	if u, ok := r.Fact.(*domain.Unknown); ok {
		return nil, fmt.Errorf("this binary does not know %s in version %d: use a newer one", u.Type, u.Version)
	}
	f, ok := r.Fact.(*domain.EventReceived)
	if !ok {
		return nil, nil
	}
	plain, err := t.cfg.Vault.Open(ctx, vault.PlaceOf(r), f.Content)
	if errors.Is(err, vault.ErrErased) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := textOf(plain)
	return &textDoc{event: f.ID, keyID: f.Content.KeyID, body: text, received: r.RecordedAt}, err
}
