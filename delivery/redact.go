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

// redactor knows the secrets of a target, as they may be repeated. It is for any number of goroutines; nil knows none.
type redactor struct {
	values []string
	clean  *strings.Replacer
}

func newRedactor(secrets ...domain.Secret) *redactor {
	values := spellings(secrets)
	if len(values) == 0 {
		return nil
	}
	pairs := make([]string, 0, 2*len(values))
	for _, v := range values {
		pairs = append(pairs, v, redacted)
	}
	return &redactor{values, strings.NewReplacer(pairs...)}
}

// redact takes secrets out of all that is recorded of the answer, should the other side have repeated them.
func (r *result) redact(of *redactor) {
	if of == nil {
		return
	}
	if r.err != nil && standsIn(r.err.Error(), of.values) {
		r.err = errors.New(of.clean.Replace(r.err.Error()))
	}
	for _, header := range r.header {
		for i := range header {
			if standsIn(header[i], of.values) {
				header[i] = of.clean.Replace(header[i])
			}
		}
	}
	if r.body != nil {
		r.redactBody(of)
	}
}

func (r *result) redactBody(of *redactor) {
	text := string(r.body.b)
	cut := 0
	if r.truncated {
		cut = begunAtTheEnd(text, of.values)
	}
	if cut == 0 && !standsIn(text, of.values) {
		return
	}
	text = of.clean.Replace(text[:len(text)-cut])
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
				inside := string(quoted[1 : len(quoted)-1])
				out = append(out, inside, strings.ReplaceAll(inside, "/", `\/`)) // some write a slash so
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
	return slices.Compact(out)
}

func standsIn(text string, values []string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(text, v) })
}

// begunAtTheEnd is how much of the text's end is the beginning of a value, whose rest was cut off: 0 where it is the
// end of one that stands there whole.
func begunAtTheEnd(text string, values []string) int {
	longest := 0
	for _, v := range values {
		for n := min(len(v)-1, len(text)); n >= leastPassword && n > longest; n-- {
			if strings.HasSuffix(text, v[:n]) {
				longest = n
			}
		}
	}
	begin := len(text) - longest
	for _, v := range values {
		if strings.Contains(text[max(0, begin-len(v)+1):min(len(text), begin+len(v)-1)], v) {
			return 0
		}
	}
	return longest
}

// hidden is what is redacted of the value of a header: all of it, of Authorization the credentials without their scheme
// too, and of a login what it says.
func hidden(name, value string) []domain.Secret {
	if len(value) < leastRedacted {
		return nil
	}
	out := []domain.Secret{domain.NewSecret(value)}
	scheme, credentials, ok := strings.Cut(value, " ")
	if !ok || name != domain.HeaderAuthorization || len(credentials) < leastRedacted {
		return out
	}
	out = append(out, domain.NewSecret(credentials))
	login, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil || !strings.EqualFold(scheme, "Basic") {
		return out
	}
	_, password, _ := strings.Cut(string(login), ":")
	return append(out, domain.NewSecret(string(login)), domain.NewSecret(password))
}
