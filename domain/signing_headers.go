package domain

import (
	"slices"
	"strconv"
	"strings"
)

// Bounds of an endpoint's own headers.
const (
	MaxHeaders     = 20
	MaxHeaderName  = 64   // in bytes
	MaxHeaderValue = 4096 // in bytes
)

// HeaderAuthorization carries a ReceiverAuth.
const HeaderAuthorization = "Authorization"

// String is what stands for the value wherever a request is shown or recorded.
func (r VaultRef) String() string { return "{vault:" + r.KeyID + "}" }

// ourHeaders are set by us, or by HTTP itself: hop by hop, or such that a client would resend the request by itself.
var ourHeaders = []string{"host", "user-agent", "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
	"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect", "idempotency-key",
	"x-idempotency-key", "accept-encoding"}

// CheckHeaderName refuses a name that no endpoint's own header may have.
func CheckHeaderName(name string) error {
	refuse := func(detail, fix string) error { return Refuse(KindInvalid, "invalid_header", detail, fix) }
	if name == "" || len(name) > MaxHeaderName || strings.ContainsFunc(name, func(r rune) bool { return !tokenChar(r) }) {
		return refuse("a header's name is not 1 to 64 letters, digits and hyphens",
			"give one like X-Api-Key, and its value beside it")
	}
	lower := strings.ToLower(name)
	if slices.Contains(ourHeaders, lower) || strings.HasPrefix(lower, "content-") || strings.HasPrefix(lower, "webhook-") {
		return refuse("the header "+name+" can't be set: it is one of those that hookledger or HTTP sets",
			"leave out host, user-agent, content-*, webhook-*, idempotency-key and what is for a single connection")
	}
	return nil
}

// tokenChar says whether RFC 9110, 5.6.2, allows a character in a header's name.
func tokenChar(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
}

// CheckHeaderValue refuses what would break out of its line; it never quotes the value.
func CheckHeaderValue(name, value string) error {
	refuse := func(detail, fix string) error { return Refuse(KindInvalid, "invalid_header", detail, fix) }
	switch {
	case value == "":
		return refuse("the header "+name+" has no value", "give one, or leave the header out")
	case len(value) > MaxHeaderValue:
		return refuse("the value of the header "+name+" is over "+strconv.Itoa(MaxHeaderValue)+" bytes", "shorten it")
	case strings.TrimSpace(value) != value:
		return refuse("the value of the header "+name+" begins or ends with white space", "leave it out")
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return refuse("the value of the header "+name+" holds a line break or another control character",
				"give one line of text")
		}
	}
	return nil
}

// checkSecrets says what is wrong with the part of a configuration whose values stand in the vault.
func (c *EndpointConfig) checkSecrets() error {
	if len(c.Headers) > MaxHeaders {
		return Refuse(KindInvalid, "invalid_header", "the endpoint has more than "+strconv.Itoa(MaxHeaders)+
			" headers of its own", "leave some out")
	}
	var names []string
	for _, h := range c.Headers {
		names = append(names, h.Name)
	}
	if c.Legacy != nil {
		names = append(names, c.Legacy.Header)
		if len(c.Legacy.Prefix) > 32 || CheckHeaderValue(c.Legacy.Header, c.Legacy.Prefix+"0") != nil {
			return Refuse(KindInvalid, "invalid_header", "the legacy signature's prefix is no text of at most 32 characters",
				`give one like "sha256=", or none`)
		}
	}
	for _, name := range names {
		if err := CheckHeaderName(name); err != nil {
			return err
		}
	}
	if c.Auth != nil {
		names = append(names, HeaderAuthorization)
		if c.Auth.Type != AuthBasic && c.Auth.Type != AuthBearer {
			return Refuse(KindInvalid, "invalid_auth", `there is no authentication "`+c.Auth.Type+`"`, "use basic or bearer")
		}
	}
	for i, name := range names {
		if slices.ContainsFunc(names[:i], func(o string) bool { return strings.EqualFold(o, name) }) {
			return Refuse(KindInvalid, "invalid_header", "the header "+name+" would be sent twice", "give each header once")
		}
	}
	if c.ClientCert != nil && c.Scheme != "https" {
		return Refuse(KindInvalid, "invalid_client_cert", "a client certificate is shown over https only",
			"give an https url, or leave the certificate out")
	}
	return nil
}
