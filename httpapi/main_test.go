package httpapi

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails when a goroutine outlives the tests: a stream of records whose client went away, for one.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
