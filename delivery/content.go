package delivery

import (
	"encoding/base64"
	"maps"
	"slices"
	"unicode/utf8"

	"hookledger/domain"
)

// appendResponse writes a domain.ResponseContent as JSON: the headers by name, then the body. Headers that alone are
// over the limit are cut off; cut says so.
func appendResponse(b []byte, r *result) (_ []byte, cut bool) {
	b = append(b, `{"headers":[`...)
	var few [24]string
	names := few[:0]
	if len(r.header) > len(few) {
		names = slices.AppendSeq(make([]string, 0, len(r.header)), maps.Keys(r.header))
	} else {
		for name := range r.header {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	size, first := 0, true
	for _, name := range names {
		for _, value := range r.header[name] {
			if size += len(name) + len(value); size > domain.MaxResponseContent {
				cut = true
				break
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = appendString(append(b, `{"name":`...), name)
			b = append(appendString(append(b, `,"value":`...), value), '}')
		}
	}
	b = append(b, `],"body":"`...)
	if r.body != nil {
		b = base64.StdEncoding.AppendEncode(b, r.body.b)
	}
	return append(b, `"}`...), cut
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string; what is no UTF-8 becomes U+FFFD, as in encoding/json.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				i++
				start = i
				continue
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
