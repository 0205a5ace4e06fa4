package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"hookledger/domain"
)

// decoder is a strict JSON decoder over one text: a name that an object has twice, at any depth, and invalid UTF-8 are
// errors.
type decoder struct {
	jsontext.Decoder
	text bytes.Buffer
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// decode runs fn over the text, which fn may keep parts of.
func decode(text []byte, fn func(*decoder) error) error {
	d := decoders.Get().(*decoder)
	d.text = *bytes.NewBuffer(text) // jsontext reads a bytes.Buffer in place
	d.Reset(&d.text)
	err := fn(d)
	d.text = bytes.Buffer{}
	d.Reset(&d.text) // the text belongs to the caller: it is not kept in the pool
	decoders.Put(d)
	return err
}

// end makes sure that nothing but space follows.
func (d *decoder) end() error {
	switch _, err := d.ReadToken(); {
	case err == nil:
		return refuse("invalid_json", "there is something behind the JSON object", "send one object")
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// ParsePost reads {id?, event, timestamp?, subject?, source?, sequence?, data} strictly: unknown and repeated fields,
// invalid UTF-8 and wrong types are refused with a *domain.Error that names the field. Data is a part of body, which
// must not be changed any more. Tenant, Actor and IdempotencyKey are the caller's to set.
func ParsePost(body []byte) (Post, error) {
	var p Post
	if len(body) > domain.MaxBody {
		return p, tooLarge(len(body))
	}
	err := decode(body, func(d *decoder) error { return p.parse(d, body) })
	if err != nil {
		return Post{}, refuseJSON(err)
	}
	return p, nil
}

// ParseObject reads a JSON object as strictly as ParsePost does, and gives its fields as they stand in body, which must
// not be changed any more. Errors are *domain.Error.
func ParseObject(body []byte) (map[string][]byte, error) {
	fields := map[string][]byte{}
	err := decode(body, func(d *decoder) error {
		if kind := d.PeekKind(); kind != '{' && kind != 0 {
			return refuse("invalid_json", "the body is no JSON object", example)
		}
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return err
			}
			key := name.String()
			v, err := d.ReadValue()
			if err != nil {
				return err
			}
			end := int(d.InputOffset())
			fields[key] = body[end-len(v) : end : end]
		}
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		return d.end()
	})
	if err != nil {
		return nil, refuseJSON(err)
	}
	return fields, nil
}

func (p *Post) parse(d *decoder, body []byte) error {
	if kind := d.PeekKind(); kind != '{' && kind != 0 {
		return refuse("invalid_json", "the body is no JSON object", example)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		if err := p.field(d, name.String(), body); err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	if err := d.end(); err != nil {
		return err
	}
	switch {
	case p.Event == "":
		return missing("event")
	case p.Data == nil:
		return missing("data")
	}
	return nil
}

func (p *Post) field(d *decoder, name string, body []byte) (err error) {
	switch name {
	case "id":
		if p.ID, err = d.string(name); err == nil && p.ID == "" {
			return invalidID()
		}
	case "event":
		if p.Event, err = d.string(name); err == nil && p.Event == "" {
			return invalidType()
		}
	case "timestamp":
		p.Timestamp, err = d.time(name)
	case "subject":
		p.Subject, err = d.string(name)
	case "source":
		p.Source, err = d.string(name)
	case "sequence":
		p.Sequence, err = d.uint(name)
	case "data":
		p.Data, err = d.object(name, body)
	default:
		return refuse("unknown_field", "there is no field "+quoteShort(name),
			"use id, event, timestamp, subject, source, sequence and data; what is the event's own goes into data")
	}
	return err
}

func (d *decoder) string(field string) (string, error) {
	if err := d.expect(field, '"', "a string"); err != nil {
		return "", err
	}
	t, err := d.ReadToken()
	if err != nil {
		return "", err
	}
	return t.String(), nil
}

func (d *decoder) uint(field string) (*uint64, error) {
	const want = "a whole number from 0 to 18446744073709551615"
	if err := d.expect(field, '0', want); err != nil {
		return nil, err
	}
	v, err := d.ReadValue()
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil {
		return nil, wrongType(field, want)
	}
	return &n, nil
}

func (d *decoder) time(field string) (*time.Time, error) {
	text, err := d.string(field)
	if err != nil {
		return nil, err
	}
	t := new(time.Time)
	if err := t.UnmarshalText([]byte(text)); err != nil {
		return nil, invalidTimestamp()
	}
	*t = t.UTC()
	return t, nil
}

func (d *decoder) object(field string, body []byte) ([]byte, error) {
	if err := d.expect(field, '{', "an object"); err != nil {
		return nil, err
	}
	v, err := d.ReadValue()
	if err != nil {
		return nil, err
	}
	end := int(d.InputOffset())
	return body[end-len(v) : end : end], nil
}

// expect refuses a value of another kind. What is no JSON at all is left to the read that follows.
func (d *decoder) expect(field string, kind jsontext.Kind, want string) error {
	if got := d.PeekKind(); got != kind && got != 0 {
		return wrongType(field, want)
	}
	return nil
}

// check looks at what does not depend on the tenant, for posts that did not come through ParsePost too.
func (p *Post) check(id string) error {
	switch {
	case !domain.ValidEventID(id):
		return invalidID()
	case !domain.ValidEventType(p.Event):
		return invalidType()
	case len(p.IdempotencyKey) > MaxIdempotencyKey:
		return refuse("invalid_idempotency_key", "the idempotency key is too long",
			fmt.Sprintf("use at most %d bytes", MaxIdempotencyKey))
	case len(p.Subject) > MaxSubject || !utf8.ValidString(p.Subject):
		return refuse("invalid_subject", "the field \"subject\" is not valid",
			fmt.Sprintf("use at most %d bytes of UTF-8", MaxSubject))
	case len(p.Source) > MaxSource || !utf8.ValidString(p.Source):
		return refuse("invalid_source", "the field \"source\" is not valid",
			fmt.Sprintf("use at most %d bytes of UTF-8", MaxSource))
	case p.Timestamp != nil && !writable(*p.Timestamp):
		return invalidTimestamp()
	case len(p.Data) == 0:
		return missing("data")
	case len(p.Data) > domain.MaxBody:
		return tooLarge(len(p.Data))
	}
	return nil
}

// writable says whether RFC 3339 can write the time.
func writable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1 && year <= 9999
}

const example = `send {"event": "order.paid", "data": {...}}`

func refuse(code, detail, fix string) error {
	return domain.Refuse(domain.KindInvalid, code, detail, fix)
}

func missing(field string) error {
	return refuse("missing_field", "the field \""+field+"\" is missing", example)
}

func wrongType(field, want string) error {
	return refuse("wrong_type", "the field \""+field+"\" is not "+want, "give "+want+", or leave the field out if you can")
}

func invalidID() error {
	return refuse("invalid_id", "the field \"id\" is not valid", "use 1 to 128 characters of A-Za-z0-9_-, or leave it out")
}

func invalidType() error {
	return refuse("invalid_event_type", "the field \"event\" is no event type",
		"use words of a-z 0-9 _ separated by dots, such as order.paid")
}

func invalidTimestamp() error {
	return refuse("invalid_timestamp", "the field \"timestamp\" is no RFC 3339 time",
		"write it like 2026-03-17T08:00:00Z, or leave it out")
}

func tooLarge(n int) error {
	return domain.Refuse(domain.KindTooLarge, "body_too_large", fmt.Sprintf("the body has %d bytes", n),
		fmt.Sprintf("send at most %d bytes; put what is larger elsewhere and send its address", domain.MaxBody))
}

// refuseJSON says what is wrong with a text that is not strict JSON. A refusal passes.
func refuseJSON(err error) error {
	var refusal *domain.Error
	if errors.As(err, &refusal) {
		return refusal
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return refuse("invalid_json", "the body is empty, or ends too early", example)
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		name := quoteShort(string(syntax.JSONPointer))
		return refuse("duplicate_field", "the field "+name+" is given twice", "give it once")
	}
	where := "at byte " + strconv.FormatInt(syntax.ByteOffset, 10)
	if syntax.JSONPointer != "" {
		where += ", within " + quoteShort(string(syntax.JSONPointer))
	}
	return refuse("invalid_json", "the body is not valid JSON "+where+": "+syntax.Err.Error(), "send JSON in UTF-8")
}

// quoteShort quotes what a producer named, cut to what fits on a line.
func quoteShort(s string) string {
	const most = 100
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return strconv.Quote(s)
}
