package ledgercopy_test

import (
	"testing"

	"hookledger/ledger/ledgercopy"
	"hookledger/ledger/pebblestore"
)

// BenchmarkCopy copies to the disk; an operation is one append of one or two records.
func BenchmarkCopy(b *testing.B) {
	from, err := pebblestore.Open(pebblestore.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	to, err := pebblestore.Open(pebblestore.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	newWorld(b, from, 1).writeSome(b.N)
	sum, err := ledgercopy.Survey(b.Context(), from, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	done, err := ledgercopy.Run(b.Context(), ledgercopy.Config{From: from, To: to, Source: sum})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(done.Appends)/b.Elapsed().Seconds(), "appends/s")
	if err := to.Close(); err != nil {
		b.Error(err)
	}
	if err := from.Close(); err != nil {
		b.Error(err)
	}
}
