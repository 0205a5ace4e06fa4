package vault

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func BenchmarkSeal(b *testing.B) {
	v := open(b, vfs.NewMem())
	id := mustKey(b, v, Scope{Tenant: "acme", Subject: "user-1"})
	content := bytes.Repeat([]byte("x"), 500)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Seal(b.Context(), id, place, content); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	v := open(b, vfs.NewMem())
	id := mustKey(b, v, Scope{Tenant: "acme", Subject: "user-1"})
	sealed, err := v.Seal(b.Context(), id, place, bytes.Repeat([]byte("x"), 500))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Open(b.Context(), place, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDataKeyCached(b *testing.B) {
	v := open(b, vfs.NewMem())
	s := Scope{Tenant: "acme", Type: "cron.completed", At: march}
	mustKey(b, v, s)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.DataKey(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}

// Each operation makes a key, on the disk; 64 at a time share a commit.
func BenchmarkDataKeyNew(b *testing.B) {
	v, err := Open(Config{Dir: b.TempDir(), Master: master, LedgerID: "led_1"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := v.Close(); err != nil {
			b.Error(err)
		}
	}()
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := v.DataKey(b.Context(), Scope{Tenant: "acme", Subject: fmt.Sprint(n.Add(1))}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
