package ledger

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// writer appends canonical JSON. Every method takes what stands before the value (the key with its punctuation), so
// that an encoder reads like the record that it writes, and like the parser that mirrors it. It is passed by value: a
// chain of calls stays in registers and allocates nothing.
type writer struct {
	b []byte
	// unfit says that a value had no canonical encoding: a time outside of the years 0 to 9999, or no finite number.
	unfit bool
}

func (w writer) lit(s string) writer {
	w.b = append(w.b, s...)
	return w
}

// flag writes the literal where on is true, and nothing where it is not.
func (w writer) flag(lit string, on bool) writer {
	if on {
		w.b = append(w.b, lit...)
	}
	return w
}

func (w writer) str(key, s string) writer {
	w.b = appendString(append(w.b, key...), s)
	return w
}

// strNonzero writes nothing where s is empty.
func (w writer) strNonzero(key, s string) writer {
	if s == "" {
		return w
	}
	return w.str(key, s)
}

func (w writer) int(key string, n int64) writer {
	w.b = strconv.AppendInt(append(w.b, key...), n, 10)
	return w
}

func (w writer) uint(key string, n uint64) writer {
	w.b = strconv.AppendUint(append(w.b, key...), n, 10)
	return w
}

func (w writer) bool(key string, v bool) writer {
	w.b = strconv.AppendBool(append(w.b, key...), v)
	return w
}

func (w writer) float(key string, f float64) writer {
	w.unfit = w.unfit || math.IsNaN(f) || math.IsInf(f, 0)
	w.b = append(w.b, key...)
	w.b = jsontext.AppendFloat(w.b, f, 64)
	return w
}

func (w writer) time(key string, t time.Time) writer {
	w.unfit = w.unfit || !fit(t)
	w.b = append(append(w.b, key...), '"')
	w.b = append(appendTime(w.b, t), '"')
	return w
}

func (w writer) ulid(key string, u ulid.ULID) writer {
	w.b = append(append(w.b, key...), '"')
	w.b = append(appendULID(w.b, u), '"')
	return w
}

func (w writer) duration(key string, d domain.Duration) writer {
	w.b = append(append(w.b, key...), '"')
	w.b = append(appendDuration(w.b, d), '"')
	return w
}

func (w writer) base64(key string, p []byte) writer {
	w.b = append(append(w.b, key...), '"')
	w.b = append(base64.StdEncoding.AppendEncode(w.b, p), '"')
	return w
}

// list writes an array; nil is the empty one.
func list[T any](w writer, key string, items []T, one func(writer, *T) writer) writer {
	w = w.lit(key).lit("[")
	for i := range items {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w = one(w, &items[i])
	}
	return w.lit("]")
}

func (w writer) sealed(key string, s *domain.Sealed) writer {
	if s == nil {
		return w.lit(key).lit("null")
	}
	return w.lit(key).str(`{"key_id":`, s.KeyID).base64(`,"nonce":`, s.Nonce).
		base64(`,"ciphertext":`, s.Ciphertext).lit("}")
}

// appendString quotes by RFC 8785: the shortest form, and U+FFFD for what is not UTF-8.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			b, _ = jsontext.AppendQuote(b, s) // the error only tells that U+FFFD was put in
			return b
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

const timeLayout = "2006-01-02T15:04:05.000000000Z"

// fit says whether RFC 3339 can write the time.
func fit(t time.Time) bool {
	y := t.UTC().Year()
	return y >= 0 && y <= 9999
}

// appendTime writes timeLayout in UTC: nanoseconds, always with nine digits, so that times sort as text.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, sec := t.Clock()
	b = append(digits2(digits2(b, year/100), year%100), '-')
	b = append(digits2(b, int(month)), '-')
	b = append(digits2(b, day), 'T')
	b = append(digits2(b, hour), ':')
	b = append(digits2(b, minute), ':')
	b = append(digits2(b, sec), '.')
	ns := t.Nanosecond()
	b = append(b, byte('0'+ns/100_000_000))
	b = digits2(b, ns/1_000_000%100)
	b = digits2(b, ns/10_000%100)
	b = digits2(b, ns/100%100)
	return append(digits2(b, ns%100), 'Z')
}

func digits2(b []byte, n int) []byte { return append(b, byte('0'+n/10%10), byte('0'+n%10)) }

func appendULID(b []byte, u ulid.ULID) []byte {
	var text [ulid.EncodedSize]byte
	_ = u.MarshalTextTo(text[:]) // it only fails on a buffer of another size
	return append(b, text[:]...)
}

// appendDuration writes what Duration.String gives; the whole seconds of a schedule without its detours.
func appendDuration(b []byte, d domain.Duration) []byte {
	sec := int64(time.Duration(d) / time.Second)
	if d <= 0 || time.Duration(sec)*time.Second != time.Duration(d) {
		return append(b, d.String()...)
	}
	h, m, s := sec/3600, sec/60%60, sec%60
	if h > 0 {
		b = append(strconv.AppendInt(b, h, 10), 'h')
	}
	if m > 0 || h > 0 && s > 0 {
		b = append(strconv.AppendInt(b, m, 10), 'm')
	}
	if s > 0 {
		b = append(strconv.AppendInt(b, s, 10), 's')
	}
	return b
}
