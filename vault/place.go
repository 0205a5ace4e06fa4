package vault

import (
	"encoding/binary"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// Place is what a ciphertext is bound to, as associated data: moved to another record, stream or tenant it does not
// open.
type Place struct {
	Tenant string
	Stream domain.Stream
	Record ulid.ULID
	Type   string // the record's
}

// PlaceOf is the place of a record's own content.
func PlaceOf(r *domain.Record) Place {
	return Place{Tenant: r.Tenant, Stream: r.Stream, Record: r.ID, Type: r.Fact.RecordType()}
}

// append writes the place so that no two places write the same: each part behind its length.
func (p *Place) append(b []byte) []byte {
	b = appendPart(b, p.Tenant)
	b = appendPart(b, string(p.Stream))
	b = append(b, p.Record[:]...)
	return appendPart(b, p.Type)
}

func appendPart(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}
