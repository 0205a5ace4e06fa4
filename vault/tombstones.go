package vault

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// Tombstones names all keys that were destroyed, for whoever keeps something beside the ledger that it must drop then.
func (v *Vault) Tombstones(ctx context.Context) (ids []string, err error) {
	if err := v.enter(); err != nil {
		return nil, err
	}
	defer v.leave()
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: []byte{'k'}, UpperBound: []byte{'k' + 1}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		entry, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		if len(entry) > 0 && entry[0] == kindTombstone {
			ids = append(ids, string(it.Key()[1:]))
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
