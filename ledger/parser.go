package ledger

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// parser reads what writer writes, and nothing else: the fields in their order, without space, every value in its one
// canonical form. So what it takes is encoded to the same bytes again, and it compares keys instead of looking them up.
// The first failure sticks; all later reads give zero values.
type parser struct {
	b   []byte
	i   int
	err error
}

func (p *parser) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("byte %d: not the canonical %s", p.i, what)
		p.i = len(p.b)
	}
}

// has takes the literal if it stands here.
func (p *parser) has(lit string) bool {
	if len(p.b)-p.i < len(lit) || string(p.b[p.i:p.i+len(lit)]) != lit {
		return false
	}
	p.i += len(lit)
	return true
}

func (p *parser) lit(s string) {
	if !p.has(s) {
		p.fail(s)
	}
}

func (p *parser) end() {
	if p.i != len(p.b) {
		p.fail("end")
	}
}

// special are the bytes at which text must look twice: the end, escapes, what is not ASCII, and what must be escaped.
var special = func() (t [256]bool) {
	for c := range t {
		t[c] = c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf
	}
	return t
}()

// text gives what stands between the quotes; plain says that it stands for itself.
func (p *parser) text(key string) (text []byte, plain bool) {
	p.lit(key)
	p.lit(`"`)
	b, i := p.b, p.i
	plain = true
	for {
		for i < len(b) && !special[b[i]] {
			i++
		}
		if i >= len(b) || b[i] < ' ' {
			p.fail("string")
			return nil, true
		}
		if b[i] == '"' {
			text = b[p.i:i]
			p.i = i + 1
			return text, plain
		}
		plain = false
		if b[i] == '\\' {
			i++
		}
		i++
	}
}

// raw gives the n bytes between quotes, whatever they are; n < 0 is all up to the next quote. For values whose form is
// checked as a whole.
func (p *parser) raw(key string, n int) []byte {
	p.lit(key)
	p.lit(`"`)
	if n < 0 {
		n = bytes.IndexByte(p.b[p.i:], '"')
	}
	if n < 0 || len(p.b)-p.i <= n || p.b[p.i+n] != '"' {
		p.fail("string")
		return nil
	}
	text := p.b[p.i : p.i+n]
	p.i += n + 1
	return text
}

func (p *parser) str(key string) string { return p.unquote(p.text(key)) }

// unquote makes a string of the text that was just taken.
func (p *parser) unquote(text []byte, plain bool) string {
	if plain {
		return string(text)
	}
	quoted := p.b[p.i-len(text)-2 : p.i]
	raw, err := jsontext.AppendUnquote(nil, quoted)
	if err == nil {
		again, _ := jsontext.AppendQuote(nil, raw)
		if string(again) == string(quoted) {
			return string(raw)
		}
	}
	p.fail("string")
	return ""
}

// word is str for values that nearly every record repeats: those share one string.
func (p *parser) word(key string) string {
	text, plain := p.text(key)
	if w, ok := words[string(text)]; ok {
		return w
	}
	return p.unquote(text, plain)
}

var words = index("system", "key", domain.DefaultTenant, "ingest", "delivery", "routed", "POST", domain.SchemeV1,
	"initial", "automatic", "manual", "application/json", "content-type", "content-length", "user-agent", "webhook-replay",
	"host", "accept-encoding", "identity", "no", "maybe", "timeout", "connect", "request", "response", "crash", "disabled",
	"cron.completed", "cron.delivered", "cron.failed", "agent.status_changed", "agent.budget_alert",
	"agent.budget_exhausted")

func index(list ...string) map[string]string {
	m := make(map[string]string, len(list))
	for _, s := range list {
		m[s] = s
	}
	return m
}

func (p *parser) strNonzero(key string) string {
	if !p.at(key) {
		return ""
	}
	s := p.str(key)
	if s == "" {
		p.fail("omission")
	}
	return s
}

// at says whether the literal stands here, without taking it.
func (p *parser) at(lit string) bool {
	return len(p.b)-p.i >= len(lit) && string(p.b[p.i:p.i+len(lit)]) == lit
}

// digits takes a run of digits without leading zeros.
func (p *parser) digits() []byte {
	from := p.i
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		p.i++
	}
	d := p.b[from:p.i]
	if len(d) == 0 || len(d) > 1 && d[0] == '0' {
		p.fail("number")
	}
	return d
}

func (p *parser) uint(key string) uint64 {
	p.lit(key)
	d := p.digits()
	if p.err != nil {
		return 0
	}
	if len(d) > 18 {
		n, err := strconv.ParseUint(string(d), 10, 64)
		if err != nil {
			p.fail("number")
		}
		return n
	}
	var n uint64
	for _, c := range d {
		n = n*10 + uint64(c-'0')
	}
	return n
}

func (p *parser) int(key string) int64 {
	p.lit(key)
	negative := p.has("-")
	n := p.uint("")
	switch {
	case negative && (n == 0 || n > 1<<63) || !negative && n > math.MaxInt64:
		p.fail("number")
		return 0
	case negative:
		return -int64(n)
	}
	return int64(n)
}

func (p *parser) intNonzero(key string) int64 {
	if !p.at(key) {
		return 0
	}
	n := p.int(key)
	if n == 0 {
		p.fail("omission")
	}
	return n
}

func (p *parser) bool(key string) bool {
	p.lit(key)
	if p.has("true") {
		return true
	}
	p.lit("false")
	return false
}

func (p *parser) float(key string) float64 {
	p.lit(key)
	from := p.i
	for p.i < len(p.b) && p.b[p.i] != ',' && p.b[p.i] != '}' && p.b[p.i] != ']' {
		p.i++
	}
	f, err := strconv.ParseFloat(string(p.b[from:p.i]), 64)
	var text [32]byte
	if err != nil || string(jsontext.AppendFloat(text[:0], f, 64)) != string(p.b[from:p.i]) {
		p.fail("number")
		return 0
	}
	return f
}

func (p *parser) time(key string) time.Time {
	text := p.raw(key, len(timeLayout))
	var t time.Time
	if text == nil || text[19] != '.' || text[len(text)-1] != 'Z' || t.UnmarshalText(text) != nil {
		p.fail("time")
		return time.Time{}
	}
	return t
}

func (p *parser) ulid(key string) (u ulid.ULID) {
	text := p.raw(key, ulid.EncodedSize)
	var again [ulid.EncodedSize]byte
	if u.UnmarshalText(text) != nil || string(appendULID(again[:0], u)) != string(text) {
		p.fail("ULID")
		return ulid.ULID{}
	}
	return u
}

func (p *parser) duration(key string) domain.Duration {
	text := p.raw(key, -1)
	d, ok := wholeSeconds(text)
	if !ok {
		v, err := time.ParseDuration(string(text))
		if err != nil {
			p.fail("duration")
			return 0
		}
		d = domain.Duration(v)
	}
	var again [48]byte
	if string(appendDuration(again[:0], d)) != string(text) {
		p.fail("duration")
		return 0
	}
	return d
}

// wholeSeconds reads durations such as "1h30m5s"; it leaves to its caller whether the form is canonical.
func wholeSeconds(text []byte) (domain.Duration, bool) {
	if len(text) > 12 {
		return 0, false
	}
	var sum, n int64
	unit := true // the last character was one: "50ms" has none between its m and s
	for _, c := range text {
		digit := c >= '0' && c <= '9'
		if unit && !digit {
			return 0, false
		}
		unit = !digit
		switch c {
		case 'h':
			sum, n = sum+n*3600, 0
		case 'm':
			sum, n = sum+n*60, 0
		case 's':
			sum, n = sum+n, 0
		default:
			if !digit {
				return 0, false
			}
			n = n*10 + int64(c-'0')
		}
	}
	if n != 0 || sum > math.MaxInt64/int64(time.Second) {
		return 0, false
	}
	return domain.Duration(sum * int64(time.Second)), true
}

func (p *parser) base64(key string) []byte {
	text := p.raw(key, -1)
	if len(text) == 0 {
		return nil
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(out, text)
	if err != nil || base64.StdEncoding.EncodedLen(n) != len(text) { // the decoder would skip line ends
		p.fail("base64")
		return nil
	}
	return out[:n]
}

// items reads an array, which mostly has up to usual items; the empty one is nil.
func items[T any](p *parser, key string, usual int, one func(*parser, *T)) []T {
	p.lit(key)
	p.lit("[")
	if p.has("]") {
		return nil
	}
	out := make([]T, 0, usual)
	for p.err == nil {
		var zero T
		out = append(out, zero)
		one(p, &out[len(out)-1])
		if !p.has(",") {
			break
		}
	}
	p.lit("]")
	return out
}

func (p *parser) sealed(key string) *domain.Sealed {
	p.lit(key)
	if p.has("null") {
		return nil
	}
	s := &domain.Sealed{KeyID: p.str(`{"key_id":`), Nonce: p.base64(`,"nonce":`), Ciphertext: p.base64(`,"ciphertext":`)}
	p.lit("}")
	return s
}
