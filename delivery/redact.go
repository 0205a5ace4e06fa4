package delivery

import (
	"bytes"
	"errors"
	"strings"

	"hookledger/domain"
)

// leastRedacted is the shortest header value, in bytes, that is looked for in answers: a shorter one, such as 1, stands
// in any of them by chance.
const leastRedacted = 8

// redact takes secrets out of all that is recorded of the answer, should the other side have repeated them.
func (r *result) redact(secrets ...domain.Secret) {
	const instead = "[redacted]"
	for _, secret := range secrets {
		value := secret.Reveal()
		if value == "" {
			continue
		}
		if r.err != nil && strings.Contains(r.err.Error(), value) {
			r.err = errors.New(strings.ReplaceAll(r.err.Error(), value, instead))
		}
		if r.body != nil {
			r.body.b = bytes.ReplaceAll(r.body.b, []byte(value), []byte(instead))
		}
		for _, values := range r.header {
			for i := range values {
				values[i] = strings.ReplaceAll(values[i], value, instead)
			}
		}
	}
	if r.body != nil && len(r.body.b) > domain.MaxResponseContent { // what stands instead may be longer
		r.body.b, r.truncated = r.body.b[:domain.MaxResponseContent], true
	}
}

// hide has the value of a header redacted, and of Authorization the credentials without their scheme.
func (x *demands) hide(name, value string) {
	if len(value) < leastRedacted {
		return
	}
	x.hidden = append(x.hidden, domain.NewSecret(value))
	if _, credentials, ok := strings.Cut(value, " "); ok && name == domain.HeaderAuthorization &&
		len(credentials) >= leastRedacted {
		x.hidden = append(x.hidden, domain.NewSecret(credentials))
	}
}
