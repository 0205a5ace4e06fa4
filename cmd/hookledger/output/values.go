package output

import (
	"strconv"
	"strings"
	"time"
)

// Time writes a time of the API for people and spreadsheets alike: RFC 3339 in UTC, to the millisecond; "" for none.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// TimeOf is Time for one that may be absent.
func TimeOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return Time(*t)
}

// Int writes a number.
func Int[N ~int | ~int64 | ~uint64](n N) string { return strconv.FormatInt(int64(n), 10) }

// NonZero writes a number that says nothing when it is 0.
func NonZero[N ~int | ~int64 | ~uint64](n N) string {
	if n == 0 {
		return ""
	}
	return Int(n)
}

// Float writes a number with at most the given digits behind the point.
func Float(f float64, digits int) string {
	s := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// Join writes a list.
func Join(list []string) string { return strings.Join(list, ", ") }

// YesNo writes a truth.
func YesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
