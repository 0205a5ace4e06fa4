package ledger

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"hookledger/domain"
)

// Format is the version of the records' envelope that this binary writes, and the newest that it reads. A type of
// record that is new or has a new version is no new format.
const Format = 1

var errUnfit = errors.New("a time is outside of the years 0 to 9999, or a number is not finite")

// A record's canonical encoding is JSON in two parts: the header {id, type, version, tenant, stream, revision, time,
// causation} and the body {actor, correlation, data}. There is one encoding of a record and it never changes, in
// whatever store it stands: hashes and digests are over it, and so the position is not part of it. Fields stand in this
// order and without space; causation and correlation are left out where there are none; times are RFC 3339 in UTC with
// nine digits of nanoseconds; strings and numbers are as in RFC 8785.

// AppendHeader appends the record's header. Its Revision must be set. AppendBody says what can't be encoded.
func AppendHeader(b []byte, r *domain.Record) []byte {
	w := writer{b: b}.ulid(`{"id":`, r.ID).str(`,"type":`, r.Fact.RecordType()).
		int(`,"version":`, int64(r.Fact.RecordVersion())).str(`,"tenant":`, r.Tenant).
		str(`,"stream":`, string(r.Stream)).int(`,"revision":`, int64(r.Revision)).time(`,"time":`, r.RecordedAt)
	if !r.Causation.IsZero() {
		w = w.ulid(`,"causation":`, r.Causation)
	}
	return w.lit("}").b
}

// AppendBody appends the record's body. It fails, with b as it was, on a record that has no encoding: a time outside of
// the years 0 to 9999 (in the header too), a number that is not finite, a fact that is not in the table of types. What
// is not UTF-8 in a string is written as U+FFFD.
func AppendBody(b []byte, r *domain.Record) ([]byte, error) {
	w := writer{b: b}.str(`{"actor":{"kind":`, r.Actor.Kind).str(`,"id":`, r.Actor.ID).lit("}").
		strNonzero(`,"correlation":`, r.Correlation).lit(`,"data":`)
	data, err := appendData(w.b, r.Fact)
	if err == nil && !fit(r.RecordedAt) {
		err = errUnfit
	}
	if err != nil {
		return b, fmt.Errorf("encode %s: %w", r.Fact.RecordType(), err)
	}
	return append(data, '}'), nil
}

func appendData(b []byte, f domain.Fact) ([]byte, error) {
	if u, ok := f.(*domain.Unknown); ok {
		if !jsontext.Value(u.Data).IsValid() {
			return b, errors.New("its data is no JSON")
		}
		return append(b, u.Data...), nil
	}
	row := types[f.RecordType()][f.RecordVersion()]
	if row == nil || row.encode == nil {
		return b, errors.New("it is not in the table of types")
	}
	return row.encode(b, f)
}

// Decode reads a record back. A type that this binary does not know, or a newer version of one, gives *domain.Unknown,
// which is encoded to the same bytes again; an older version gives the fact of today. Anything that is not a canonical
// encoding is an error: the record is damaged. Position is the store's to set. The record keeps no reference to header
// and body.
func Decode(header, body []byte) (*domain.Record, error) {
	r := &domain.Record{}
	p := parser{b: header}
	r.ID = p.ulid(`{"id":`)
	name := typeName(&p)
	version := int(p.int(`,"version":`))
	r.Tenant = p.word(`,"tenant":`)
	r.Stream = domain.Stream(p.str(`,"stream":`))
	r.Revision = domain.Revision(p.int(`,"revision":`))
	r.RecordedAt = p.time(`,"time":`)
	if p.at(`,"causation":`) {
		if r.Causation = p.ulid(`,"causation":`); r.Causation.IsZero() {
			p.fail("omission")
		}
	}
	p.lit("}")
	p.end()
	if p.err != nil {
		return nil, fmt.Errorf("decode a record's header: %w", p.err)
	}
	if err := decodeBody(r, name, version, body); err != nil {
		return nil, fmt.Errorf("decode %s version %d, record %s: %w", name, version, r.ID, err)
	}
	return r, nil
}

// typeName is the table's own string of a known type.
func typeName(p *parser) string {
	text, plain := p.text(`,"type":`)
	if row := types[string(text)][1]; row != nil {
		return row.name
	}
	return p.unquote(text, plain)
}

func decodeBody(r *domain.Record, name string, version int, body []byte) error {
	p := parser{b: body}
	r.Actor.Kind = p.word(`{"actor":{"kind":`)
	r.Actor.ID = p.word(`,"id":`)
	p.lit("}")
	r.Correlation = p.strNonzero(`,"correlation":`)
	p.lit(`,"data":`)
	if p.err == nil && body[len(body)-1] != '}' {
		p.fail("end")
	}
	if p.err != nil {
		return p.err
	}
	var err error
	r.Fact, err = decodeData(name, version, body[p.i:len(body)-1])
	return err
}

// decodeData reads the data of a type. It keeps no reference to it.
func decodeData(name string, version int, data []byte) (domain.Fact, error) {
	known := types[name]
	if row := known[version]; row != nil {
		return row.decode(data)
	}
	if version < 1 || version <= len(known) {
		return nil, errors.New("there is no such version")
	}
	if !jsontext.Value(data).IsValid() {
		return nil, errors.New("its data is no JSON")
	}
	return &domain.Unknown{Type: name, Version: version, Data: append([]byte(nil), data...)}, nil
}
