package vault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// tombstoneSize is that of a destroyed key's entry.
const tombstoneSize = 1 + 8

// inspect opens the Pebble for reading only, which changes nothing, and reads every entry: Pebble finds damage by its
// checksums, and each entry must have the form that it was written in. No key is unwrapped.
func inspect(dir string, o *pebble.Options) error {
	o.ReadOnly = true
	// The default ends the process; here the one who reads gets the error.
	o.EventListener = &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return err
	}
	err = readEntries(db)
	if err == nil {
		err = readFilters(db)
	}
	closed := db.Close()
	if err != nil {
		return err
	}
	return closed
}

func readEntries(db *pebble.DB) error {
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil && !wellFormed(it.Key(), value) {
			err = fmt.Errorf("the entry %q has no form that is known", it.Key())
		}
	}
	closed := it.Close() // says the iterator's own error
	if err != nil {
		return err
	}
	return closed
}

// readFilters looks up a key of each table, for which Pebble reads the table's filter; reading in order does not.
func readFilters(db *pebble.DB) error {
	levels, err := db.SSTables()
	if err != nil {
		return err
	}
	for _, tables := range levels {
		for _, t := range tables {
			_, closer, err := db.Get(t.Smallest.UserKey)
			if errors.Is(err, pebble.ErrNotFound) {
				continue // deleted since
			}
			if err == nil {
				err = closer.Close()
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// wellFormed says whether an entry is one of those that are described at kindData.
func wellFormed(key, value []byte) bool {
	switch {
	case len(key) == 1+macSize && key[0] == 'i':
		return strings.HasPrefix(string(value), PrefixDataKey)
	case len(key) < 2 || key[0] != 'k' || len(value) < 2:
		return false
	}
	switch value[0] {
	case kindData:
		return len(value) == 1+macSize+wrappedSize
	case kindSigning:
		return len(value) == 2+int(value[1])+wrappedSize
	case kindSecret:
		return len(value) == secretSize(value)
	case kindTombstone:
		return len(value) == tombstoneSize
	}
	return false
}
