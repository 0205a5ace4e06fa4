package ledger

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"hookledger/domain"
)

func TestDurationsOfEverySizeAreReadAsWritten(t *testing.T) {
	t.Parallel()
	check := func(t rapid.TB, d domain.Duration) {
		t.Helper()
		text := append(appendDuration([]byte(`"`), d), '"')
		p := parser{b: text}
		if got := p.duration(""); p.err != nil || got != d {
			t.Fatalf("%s is read as %v, %v", text, got, p.err)
		}
	}
	for _, d := range []time.Duration{0, 1, time.Microsecond, 50 * time.Millisecond, 100 * time.Millisecond, time.Second,
		1500 * time.Millisecond, time.Minute, 90 * time.Second, time.Hour, time.Hour + time.Second, 168 * time.Hour} {
		check(t, domain.Duration(d))
	}
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]time.Duration{1, time.Microsecond, time.Millisecond, time.Second, time.Minute,
			time.Hour}).Draw(t, "unit")
		check(t, domain.Duration(time.Duration(rapid.Int64Range(0, 5000).Draw(t, "n"))*unit))
	})
}
