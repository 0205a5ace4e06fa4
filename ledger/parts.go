package ledger

import (
	"fmt"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// Some stores keep a record's id, type, stream and revision by themselves, such as an event database does. They keep
// the rest in two parts, both canonical JSON: the data, as it stands in the body, and the metadata {version, tenant,
// time, actor, $correlationId, $causationId}. The last two are named, and the causation is written as a UUID, as
// EventStoreDB's own tools expect it; they are left out where there are none.

// AppendData appends the data of the record's fact. It fails, with b as it was, on what has no encoding.
func AppendData(b []byte, f domain.Fact) ([]byte, error) {
	out, err := appendData(b, f)
	if err != nil {
		return b, fmt.Errorf("encode %s: %w", f.RecordType(), err)
	}
	return out, nil
}

// AppendMetadata appends the record's metadata. It fails, with b as it was, on a time outside of the years 0 to 9999.
func AppendMetadata(b []byte, r *domain.Record) ([]byte, error) {
	w := writer{b: b}.int(`{"version":`, int64(r.Fact.RecordVersion())).str(`,"tenant":`, r.Tenant).
		time(`,"time":`, r.RecordedAt).str(`,"actor":{"kind":`, r.Actor.Kind).str(`,"id":`, r.Actor.ID).lit("}").
		strNonzero(`,"$correlationId":`, r.Correlation)
	if !r.Causation.IsZero() {
		w = w.uuid(`,"$causationId":`, r.Causation)
	}
	if w.unfit {
		return b, fmt.Errorf("encode %s: %w", r.Fact.RecordType(), errUnfit)
	}
	return w.lit("}").b, nil
}

// DecodeParts reads back what AppendData and AppendMetadata wrote of a record of the type. r has its ID, Stream,
// Revision and Position; the rest is set. As with Decode, a type or version that this binary does not know gives
// *domain.Unknown, and anything that is not canonical is an error. r keeps no reference to metadata and data.
func DecodeParts(r *domain.Record, typ string, metadata, data []byte) error {
	p := parser{b: metadata}
	version := int(p.int(`{"version":`))
	r.Tenant = p.word(`,"tenant":`)
	r.RecordedAt = p.time(`,"time":`)
	r.Actor.Kind = p.word(`,"actor":{"kind":`)
	r.Actor.ID = p.word(`,"id":`)
	p.lit("}")
	r.Correlation = p.strNonzero(`,"$correlationId":`)
	r.Causation = ulid.ULID{}
	if p.at(`,"$causationId":`) {
		if r.Causation = p.uuid(`,"$causationId":`); r.Causation.IsZero() {
			p.fail("omission")
		}
	}
	p.lit("}")
	p.end()
	if p.err != nil {
		return fmt.Errorf("decode the metadata of %s, record %s: %w", typ, r.ID, p.err)
	}
	var err error
	if r.Fact, err = decodeData(typ, version, data); err != nil {
		return fmt.Errorf("decode %s version %d, record %s: %w", typ, version, r.ID, err)
	}
	return nil
}

// uuidSize is the length of a UUID's text.
const uuidSize = 36

// uuid writes the 16 bytes of a ULID as the text of a UUID.
func (w writer) uuid(key string, u ulid.ULID) writer {
	w.b = append(append(w.b, key...), '"')
	for i, c := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			w.b = append(w.b, '-')
		}
		w.b = append(w.b, hexDigits[c>>4], hexDigits[c&15])
	}
	w.b = append(w.b, '"')
	return w
}

const hexDigits = "0123456789abcdef"

func (p *parser) uuid(key string) (u ulid.ULID) {
	text := p.raw(key, uuidSize)
	if text == nil {
		return u
	}
	n := 0
	for i := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			if text[n] != '-' {
				p.fail("UUID")
				return ulid.ULID{}
			}
			n++
		}
		hi, lo := hexValue(text[n]), hexValue(text[n+1])
		if hi < 0 || lo < 0 {
			p.fail("UUID")
			return ulid.ULID{}
		}
		u[i] = byte(hi<<4 | lo)
		n += 2
	}
	return u
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
