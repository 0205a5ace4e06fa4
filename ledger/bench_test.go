package ledger

import (
	"testing"

	"hookledger/domain"
)

// BenchmarkEncode and BenchmarkDecode measure one record an operation, of each of the five of a delivery and of the two
// of an event, and the mean over the five.
func BenchmarkEncode(b *testing.B) {
	for _, c := range benchRecords() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 4096)
			for i := range b.N {
				r := c.records[i%len(c.records)]
				out, err := AppendBody(AppendHeader(buf, r), r)
				if err != nil || len(out) == 0 {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range benchRecords() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			headers, bodies := make([][]byte, len(c.records)), make([][]byte, len(c.records))
			for i, r := range c.records {
				headers[i], bodies[i] = encode(b, r)
			}
			b.ResetTimer()
			for i := range b.N {
				if _, err := Decode(headers[i%len(headers)], bodies[i%len(headers)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type benchCase struct {
	name    string
	records []*domain.Record
}

func benchRecords() []benchCase {
	out := []benchCase{{"Delivery", deliverySamples()}}
	for _, r := range deliverySamples() {
		out = append(out, benchCase{r.Fact.RecordType(), []*domain.Record{r}})
	}
	for _, f := range samples() {
		switch f.(type) {
		case *domain.EventReceived, *domain.EventRouted:
			out = append(out, benchCase{f.RecordType(), []*domain.Record{sampleRecord(f)}})
		}
	}
	return out
}
