package projections

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"hookledger/domain"
)

// RefusalFilter selects refusals; empty fields select all.
type RefusalFilter struct {
	List
	Key    string // that posted
	Reason string
}

const refusalInsert = "INSERT INTO refusals (tenant, created_at, id, key_id, reason, state) VALUES (?, ?, ?, ?, ?, ?)"

// writeRefusals makes the rows of refusals; each stream has one record, and nothing follows in it.
func (w *writer) writeRefusals(ctx context.Context, refusals []domain.Refusal) error {
	for i := range refusals {
		r := &refusals[i]
		raw, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := w.exec(ctx, refusalInsert, r.Tenant, micros(r.CreatedAt), r.ID, r.Refused.Key, r.Refused.Reason,
			raw); err != nil {
			return err
		}
	}
	return nil
}

func scanRefusal(rows *sql.Rows, r *domain.Refusal) error {
	var raw []byte
	if err := rows.Scan(&raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, r); err != nil {
		return fmt.Errorf("the row of a refusal: %w", err)
	}
	return nil
}

// Refusals lists what producers posted and was refused.
func (p *Projections) Refusals(ctx context.Context, f RefusalFilter) (Page[domain.Refusal], error) {
	return page(ctx, p.db, refusalList(f), scanRefusal,
		func(r *domain.Refusal) cursor { return cursor{micros(r.CreatedAt), r.ID} })
}

func refusalList(f RefusalFilter) *list {
	index := ""
	switch {
	case f.Key != "":
		index = "refusals_key"
	case f.Reason != "":
		index = "refusals_reason"
	}
	l := newList(f.List, "refusals", index, "state", "created_at", "")
	l.where("key_id", f.Key)
	l.where("reason", f.Reason)
	return l
}
