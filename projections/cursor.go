package projections

import (
	"encoding/base64"
	"strconv"
	"strings"

	"hookledger/domain"
)

// cursor is the last row of a page: the next one begins behind it.
type cursor struct {
	at int64 // microseconds
	id string
}

func (c cursor) encode() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.at, 36) + "." + c.id))
}

func decodeCursor(s string) (cursor, error) {
	bad := domain.Refuse(domain.KindInvalid, "invalid_cursor", "this is no cursor of a list",
		"give next_cursor of the page before, as it is, or none")
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return cursor{}, bad
	}
	at, id, ok := strings.Cut(string(raw), ".")
	us, err := strconv.ParseInt(at, 36, 64)
	if err != nil || !ok || id == "" {
		return cursor{}, bad
	}
	return cursor{us, id}, nil
}
