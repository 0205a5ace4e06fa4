package ledgercopy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"

	"hookledger/domain"
	"hookledger/ledger"
)

// Digest is SHA-256 over a ledger's records in their order: of each the length of its header in 4 bytes, big-endian,
// the header, the length of its body likewise, and the body, in their canonical encoding. Positions are not part of it:
// they differ between stores.
type Digest [sha256.Size]byte

// String writes it as sha256:<hex>.
func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// encoded is a record's canonical encoding. Its buffer is used again for the next record.
type encoded struct{ header, body []byte }

func (e *encoded) set(r *domain.Record) (err error) {
	e.header = ledger.AppendHeader(e.header[:0], r)
	if e.body, err = ledger.AppendBody(e.body[:0], r); err != nil {
		return fmt.Errorf("record %s: %w", r.ID, err)
	}
	return nil
}

func (e *encoded) size() int { return len(e.header) + len(e.body) }

func (e *encoded) equal(o *encoded) bool {
	return bytes.Equal(e.header, o.header) && bytes.Equal(e.body, o.body)
}

// summer computes a Digest.
type summer struct{ h hash.Hash }

func newSummer() summer { return summer{sha256.New()} }

func (s summer) add(e *encoded) {
	for _, part := range [][]byte{e.header, e.body} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(part)))
		s.h.Write(n[:])
		s.h.Write(part)
	}
}

func (s summer) digest() Digest { return Digest(s.h.Sum(nil)) }
