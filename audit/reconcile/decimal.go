package reconcile

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
)

// Decimal is an exact decimal number. The zero value is 0.
type Decimal struct{ rat *big.Rat }

// Bounds of what a Decimal is read from: exact arithmetic costs by length.
const (
	maxDecimalLength = 40
	maxExponent      = 30
)

// ParseDecimal reads a number as JSON writes it, of at most 40 characters, that is not negative.
func ParseDecimal(s string) (Decimal, bool) {
	if s == "" || len(s) > maxDecimalLength || s[0] < '0' || s[0] > '9' || !json.Valid([]byte(s)) {
		return Decimal{}, false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if n, err := strconv.Atoi(s[i+1:]); err != nil || n > maxExponent || n < -maxExponent {
			return Decimal{}, false
		}
	}
	r, ok := new(big.Rat).SetString(s)
	return Decimal{r}, ok
}

func (d Decimal) value() *big.Rat {
	if d.rat == nil {
		return new(big.Rat)
	}
	return d.rat
}

// Add gives the sum.
func (d Decimal) Add(e Decimal) Decimal { return Decimal{new(big.Rat).Add(d.value(), e.value())} }

// Sub gives the difference, which may be negative.
func (d Decimal) Sub(e Decimal) Decimal { return Decimal{new(big.Rat).Sub(d.value(), e.value())} }

// Cmp compares.
func (d Decimal) Cmp(e Decimal) int { return d.value().Cmp(e.value()) }

// Sign is -1, 0 or 1.
func (d Decimal) Sign() int { return d.value().Sign() }

// near says whether two differ by at most the tolerance.
func (d Decimal) near(e, tolerance Decimal) bool {
	diff := new(big.Rat).Sub(d.value(), e.value())
	return diff.Abs(diff).Cmp(tolerance.value()) <= 0
}

// String writes all digits, and no zeros behind the last.
func (d Decimal) String() string {
	digits, _ := d.value().FloatPrec() // a sum of decimals is one
	return d.value().FloatString(digits)
}

// MarshalText makes it a text in JSON, where a number would be rounded by many who read it.
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText has written.
func (d *Decimal) UnmarshalText(b []byte) error {
	parsed, ok := new(big.Rat).SetString(string(b))
	if !ok || len(b) > 2*maxDecimalLength {
		return errNoDecimal
	}
	d.rat = parsed
	return nil
}

var errNoDecimal = errors.New("reconcile: no decimal")
