package delivery

import (
	"bytes"
	"testing"
	"time"

	"hookledger/domain"
)

// BenchmarkPrepare is what an attempt does before its first append. An endpoint that asks for nothing pays for nothing.
func BenchmarkPrepare(b *testing.B) {
	for _, bm := range []struct {
		name   string
		change func(*world, *domain.EndpointConfig)
	}{
		{"plain", func(*world, *domain.EndpointConfig) {}},
		{"rotating", func(w *world, c *domain.EndpointConfig) {
			w.vault.giveKey("sk_2", bytes.Repeat([]byte{2}, 32))
			c.Signing.Previous = []domain.PreviousKey{{Scheme: domain.SchemeV1, KeyID: "sk_2",
				ValidUntil: time.Now().Add(time.Hour)}}
		}},
		{"headers", func(w *world, c *domain.EndpointConfig) {
			c.Headers = []domain.SecretHeader{{Name: "X-Api-Key", Value: w.vault.giveSecret("cr_1", "value")}}
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			w := newWorld(b)
			w.endpoint("ep", "http://127.0.0.1:1/hook", func(c *domain.EndpointConfig) { bm.change(w, c) })
			w.due("ep")
			key := domain.EndpointKey{Tenant: "default", Endpoint: "ep"}
			due, _ := w.backlog.Take(key, time.Now())
			e, _ := w.house.Endpoint("default", "ep")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.d.prepare(due, e, "", time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
