package delivery

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"hookledger/domain"
)

const (
	// leastRedacted is the shortest header value, in bytes, that is looked for in answers: a shorter one, such as 1,
	// stands in any of them by chance.
	leastRedacted = 8
	// leastPassword is the same of what is nothing but a secret.
	leastPassword = 4

	redacted = "[redacted]"
)

// redact takes secrets out of all that is recorded of the answer, should the other side have repeated them.
func (r *result) redact(secrets ...domain.Secret) {
	values := spellings(secrets)
	if len(values) == 0 {
		return
	}
	pairs := make([]string, 0, 2*len(values))
	for _, v := range values {
		pairs = append(pairs, v, redacted)
	}
	clean := strings.NewReplacer(pairs...)
	if r.err != nil && standsIn(r.err.Error(), values) {
		r.err = errors.New(clean.Replace(r.err.Error()))
	}
	for _, header := range r.header {
		for i := range header {
			header[i] = clean.Replace(header[i])
		}
	}
	if r.body != nil {
		r.redactBody(values, clean)
	}
}

func (r *result) redactBody(values []string, clean *strings.Replacer) {
	text := string(r.body.b)
	cut := 0
	if r.truncated {
		cut = begunAtTheEnd(text, values)
	}
	if cut == 0 && !standsIn(text, values) {
		return
	}
	text = clean.Replace(text[:len(text)-cut])
	if cut > 0 {
		text += redacted
	}
	if len(text) > domain.MaxResponseContent { // what stands instead may be longer
		text, r.truncated = text[:domain.MaxResponseContent], true
	}
	r.body.b = append(r.body.b[:0], text...)
}

// spellings are the values as they may be repeated, as they are and as JSON writes them: the longest first, for one may
// begin with another.
func spellings(secrets []domain.Secret) []string {
	var out []string
	for _, secret := range secrets {
		value := secret.Reveal()
		if len(value) < leastPassword {
			continue
		}
		out = append(out, value)
		for _, escapeHTML := range []bool{true, false} {
			var written bytes.Buffer
			enc := json.NewEncoder(&written)
			enc.SetEscapeHTML(escapeHTML)
			if enc.Encode(value) == nil { // a string is always written
				quoted := bytes.TrimSuffix(written.Bytes(), []byte("\n"))
				out = append(out, string(quoted[1:len(quoted)-1]))
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
	return slices.Compact(out)
}

func standsIn(text string, values []string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(text, v) })
}

// begunAtTheEnd is how much of the text's end is the beginning of a value, whose rest was cut off.
func begunAtTheEnd(text string, values []string) int {
	longest := 0
	for _, v := range values {
		for n := min(len(v)-1, len(text)); n >= leastPassword && n > longest; n-- {
			if strings.HasSuffix(text, v[:n]) {
				longest = n
			}
		}
	}
	return longest
}

// hide has the value of a header redacted, of Authorization the credentials without their scheme, and of a login what
// it says.
func (x *demands) hide(name, value string) {
	if len(value) < leastRedacted {
		return
	}
	x.hidden = append(x.hidden, domain.NewSecret(value))
	scheme, credentials, ok := strings.Cut(value, " ")
	if !ok || name != domain.HeaderAuthorization || len(credentials) < leastRedacted {
		return
	}
	x.hidden = append(x.hidden, domain.NewSecret(credentials))
	login, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil || !strings.EqualFold(scheme, "Basic") {
		return
	}
	_, password, _ := strings.Cut(string(login), ":")
	x.hidden = append(x.hidden, domain.NewSecret(string(login)), domain.NewSecret(password))
}
