package domain

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a time.Duration that is written as "5s", "30m" or "1h30m".
type Duration time.Duration

func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("a duration is written like 5s, 30m or 1h30m: %w", err)
	}
	*d = Duration(v)
	return nil
}
