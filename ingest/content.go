package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// contents holds buffers for content that is about to be sealed.
var contents = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// appendContent writes a domain.EventContent, with the body's bytes as they are: encoding/json would change them.
func appendContent(b []byte, subject string, body []byte) []byte {
	b = append(b, '{')
	if subject != "" {
		b = append(b, `"subject":`...)
		b, _ = jsontext.AppendQuote(b, subject) // invalid UTF-8 was refused before
		b = append(b, ',')
	}
	sum := sha256.Sum256(body)
	b = append(b, `"sha256":"`...)
	b = hex.AppendEncode(b, sum[:])
	b = append(b, `","body":`...)
	b = append(b, body...)
	return append(b, '}')
}

var (
	contentHead = []byte(`{"sha256":"`)
	contentBody = []byte(`","body":`)
)

// parseContent reads what appendContent wrote. Body is a part of plain.
func parseContent(plain []byte) (domain.EventContent, error) {
	const hexSum = 2 * sha256.Size
	// Content without a subject, which is most, has everything at a fixed place.
	if rest, ok := bytes.CutPrefix(plain, contentHead); ok && len(rest) > hexSum+len(contentBody)+1 &&
		bytes.HasPrefix(rest[hexSum:], contentBody) {
		return domain.EventContent{SHA256: string(rest[:hexSum]), Body: rest[hexSum+len(contentBody) : len(rest)-1]}, nil
	}
	var c domain.EventContent
	if err := json.Unmarshal(plain, &c); err != nil {
		return c, fmt.Errorf("the content of an event is not readable: %w", err)
	}
	return c, nil
}

// accepted is an event's first append, as it stands on the ledger.
type accepted struct {
	received *domain.EventReceived
	routed   *domain.EventRouted
	place    vault.Place
	record   *domain.Record // of received
	position domain.Position
}

const codeEventNotFound = "event_not_found"

func readFirst(ctx context.Context, r ledger.Reader, tenant, id string) (*accepted, error) {
	var first accepted
	for rec, err := range r.ReadStream(ctx, domain.EventStream(tenant, id), 0) {
		if err != nil {
			return nil, fmt.Errorf("read event %s: %w", id, err)
		}
		switch f := rec.Fact.(type) {
		case *domain.EventReceived:
			first.received, first.record, first.place = f, rec, vault.PlaceOf(rec)
		case *domain.EventRouted:
			first.routed, first.position = f, rec.Position
		}
		if first.received != nil && first.routed != nil {
			return &first, nil
		}
	}
	if first.received == nil {
		return nil, domain.Refuse(domain.KindNotFound, codeEventNotFound, "there is no event "+id,
			"list them with: hookledger event list")
	}
	return nil, fmt.Errorf("read event %s: %w", id, errNotRouted)
}

// EventReceived and EventRouted are one append.
var errNotRouted = errors.New("it was received and not routed")

// withoutContent is the record without the ciphertext, for keeping beside what was opened.
func withoutContent(f *domain.EventReceived) *domain.EventReceived {
	c := *f
	c.Content = nil
	return &c
}
