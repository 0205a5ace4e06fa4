package domain

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/oklog/ulid/v2"
)

// Prefixes of ids.
const (
	PrefixEvent    = "evt_"
	PrefixDelivery = "dlv_"
	PrefixAttempt  = "att_"
	PrefixEndpoint = "ep_"
	PrefixKey      = "key_"
	PrefixSource   = "src_"
)

// Tenants with a meaning of their own.
const (
	DefaultTenant = "default"
	SystemTenant  = "system" // the ledger's own streams; no tenant can be called so
	AnyTenant     = "*"      // the tenant of a platform key, which names its tenant with each request
)

// MaxIDLength bounds event ids, event types and tenant names, in bytes.
const MaxIDLength = 128

// NewID makes an id of a ULID.
func NewID(prefix string, u ulid.ULID) string { return prefix + u.String() }

// IDAt is base plus i, counted through all 128 bits.
func IDAt(base ulid.ULID, i int) ulid.ULID {
	if i == 0 {
		return base
	}
	lo := binary.BigEndian.Uint64(base[8:])
	sum := lo + uint64(i)
	binary.BigEndian.PutUint64(base[8:], sum)
	if sum < lo {
		binary.BigEndian.PutUint64(base[:8], binary.BigEndian.Uint64(base[:8])+1)
	}
	return base
}

// DerivedID is a ULID that is the same for the same parts: at's milliseconds, and 80 bits of a SHA-256 over the parts
// with their lengths. It sorts by time, and makes what was derived twice a duplicate.
func DerivedID(at time.Time, parts ...string) ulid.ULID {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	var u ulid.ULID
	_ = u.SetTime(uint64(max(at.UnixMilli(), 0)))
	copy(u[6:], h.Sum(nil))
	return u
}

// AttemptID makes an attempt's id of a drawn one and the time at which the attempt starts: lists of attempts are in the
// order of their ids.
func AttemptID(started time.Time, drawn ulid.ULID) string {
	_ = drawn.SetTime(uint64(max(started.UnixMilli(), 0)))
	return NewID(PrefixAttempt, drawn)
}

// DeliveryID derives the delivery of an event to an endpoint for a cause ("routed", or a replay's id), so that routing
// the same event twice gives the same deliveries.
func DeliveryID(received time.Time, tenant, event, endpoint, cause string) string {
	return NewID(PrefixDelivery, DerivedID(received, "delivery", tenant, event, endpoint, cause))
}

// ValidEventID says whether an id is 1 to 128 characters of A-Za-z0-9_-.
func ValidEventID(s string) bool {
	if s == "" || len(s) > MaxIDLength {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !alphanumeric(c) && c != '_' && c != '-' && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// ValidTenant says whether a name can be a tenant's: 1 to 63 characters of a-z0-9_-, not "system".
func ValidTenant(s string) bool {
	if s == "" || len(s) > 63 || s == SystemTenant {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
