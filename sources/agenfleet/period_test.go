package agenfleet

import (
	"testing"

	"hookledger/domain"
)

func TestTimeZonesAreNamed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Local", "Mars/Olympus", "../etc/passwd"} {
		if _, err := Location(name); domain.Code(err) != "invalid_source" {
			t.Errorf("%q: %v", name, err)
		}
	}
	if loc, err := Location("Europe/Berlin"); err != nil || loc.String() != "Europe/Berlin" {
		t.Errorf("%v %v", loc, err)
	}
}
