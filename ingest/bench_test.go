package ingest

import (
	"fmt"
	"testing"
	"time"

	"hookledger/domain"
)

const benchBody = `{"event":"cron.completed","data":{"jobId":"job_daily_report","runId":"run_8842",` +
	`"agentId":"agent_atlas","status":"success","startedAt":"2026-03-17T08:00:02Z","durationMs":41873,` +
	`"output":"Daily report: 14 tickets closed."}}`

// From the bytes of a request to the receipt: parse, check, seal, route, append; 64 posters for each processor.
func BenchmarkPost(b *testing.B) {
	for _, endpoints := range []int{1, 10} {
		b.Run(fmt.Sprintf("endpoints=%d", endpoints), func(b *testing.B) {
			f := newFixture(b, func(c *Config) { c.Now = time.Now })
			for i := range endpoints {
				f.dir.endpoint(fmt.Sprintf("ep_%026d", i), false, "*")
			}
			b.ReportAllocs()
			b.SetParallelism(64)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p, err := ParsePost([]byte(benchBody))
					if err != nil {
						b.Error(err)
						return
					}
					p.Tenant, p.Actor = "acme", actor
					if _, err := f.Post(b.Context(), p); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkPostBatch(b *testing.B) {
	f := newFixture(b, func(c *Config) { c.Now = time.Now })
	f.dir.endpoint("ep_1", false, "*")
	posts := make([]Post, 100)
	b.ReportAllocs()
	for b.Loop() {
		for i := range posts {
			p, err := ParsePost([]byte(benchBody))
			if err != nil {
				b.Fatal(err)
			}
			p.Tenant, p.Actor = "acme", actor
			posts[i] = p
		}
		for _, r := range f.PostBatch(b.Context(), posts) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(posts)), "ns/event")
}

func BenchmarkParsePost(b *testing.B) {
	body := []byte(benchBody)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePost(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckSchema(b *testing.B) {
	p, err := ParsePost([]byte(benchBody))
	if err != nil {
		b.Fatal(err)
	}
	t := &domain.Tenant{Name: "acme"}
	s := newSchemas()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.check(t, &p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBodiesHit(b *testing.B) {
	f := newFixture(b)
	f.must(post("id-1", completed))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.bodies.Event(b.Context(), "acme", "id-1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBodiesMiss(b *testing.B) {
	f := newFixture(b)
	f.must(post("id-1", completed))
	none := NewBodies(f.store, f.vault, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := none.Event(b.Context(), "acme", "id-1"); err != nil {
			b.Fatal(err)
		}
	}
}
