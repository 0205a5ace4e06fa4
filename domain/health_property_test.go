package domain_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hookledger/domain"
)

// wander writes something that may happen to an endpoint.
func (p *patient) wander(rnd *rand.Rand, flying *[]domain.Stream) {
	steps := []time.Duration{0, time.Millisecond, time.Second, 20 * time.Second, 10 * time.Minute, 20 * time.Hour}
	p.pass(steps[min(rnd.IntN(40), rnd.IntN(len(steps)))] + time.Duration(rnd.IntN(1e9)))
	switch dice := rnd.IntN(30); {
	case dice == 0:
		p.endpoint(&domain.EndpointDisabled{Reason: "manual"})
	case dice == 1:
		p.endpoint(&domain.EndpointEnabled{})
	case dice < 14 || len(*flying) == 0:
		*flying = append(*flying, p.begin())
	default:
		i := rnd.IntN(len(*flying))
		s := (*flying)[i]
		*flying = slices.Delete(*flying, i, i+1)
		p.outcome(rnd, s)
	}
}

func (p *patient) outcome(rnd *rand.Rand, s domain.Stream) {
	// Good and bad times take turns, so that rows of failures come about.
	bad := p.n/150%2 == 1
	switch dice := rnd.IntN(10); {
	case dice == 0:
		p.write(s, &domain.AttemptInterrupted{Attempt: "att_1"}, &domain.RetryScheduled{N: 2})
	case dice == 1:
		p.write(s, &domain.ResponseReceived{Attempt: "att_1", Status: 200, Late: true}, &domain.DeliverySucceeded{})
	case dice < 4 && bad:
		p.write(s, &domain.AttemptFailed{Attempt: "att_1", Code: domain.CodeTimeout,
			Timings: domain.Timings{Total: 20_000_000}}, &domain.DeliveryExhausted{})
	case bad:
		p.answer(s, []int{400, 410, 429, 500, 503, 302}[rnd.IntN(6)], time.Duration(rnd.IntN(2))*time.Minute)
	default:
		p.answer(s, 200, 0)
	}
}

func encoded(t *testing.T, h *domain.Health) string {
	t.Helper()
	if h == nil {
		return "none"
	}
	b, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestHealth_StoredAndGoneOnEqualsFoldedInOne: a fold that is stored and read back after any record, any number of
// times, is at the end what it would have been without, and the same followed from each record.
func TestHealth_StoredAndGoneOnEqualsFoldedInOne(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 20 {
		p := newPatient(t)
		var flying []domain.Stream
		for len(p.records) < 1500 {
			p.wander(rnd, &flying)
		}
		fold := domain.NewHealthFold(p.fold.Config)
		var follow []domain.FollowUp
		for _, r := range p.records {
			_, more := fold.Apply(r)
			follow = append(follow, more...)
			if rnd.IntN(40) == 0 {
				fold = reopened(t, fold, p.now)
			}
		}
		if got, want := encoded(t, fold.Health("t", ep)), encoded(t, p.health()); got != want {
			t.Fatalf("stored\n%s\nin one\n%s", got, want)
		}
		if !slices.Equal(follow, p.follow) || !slices.Equal(fold.Open(nil), p.fold.Open(nil)) {
			t.Fatal("what follows, or what is open, differs")
		}
	}
}

func reopened(t *testing.T, fold *domain.HealthFold, _ time.Time) *domain.HealthFold {
	t.Helper()
	var healths [][]byte
	fold.Endpoints(func(h *domain.Health) { healths = append(healths, []byte(encoded(t, h))) })
	open, err := json.Marshal(fold.Open(nil))
	if err != nil {
		t.Fatal(err)
	}
	var back []domain.HealthOpen
	if err := json.Unmarshal(open, &back); err != nil {
		t.Fatal(err)
	}
	again := domain.NewHealthFold(fold.Config)
	if err := again.Restore(healths, back, fold.Between()); err != nil {
		t.Fatal(err)
	}
	return again
}

// TestHealth_WindowsEqualACountOfTheAttempts: what the rings say is what a count of all attempts whose slots lie in the
// window says; to forget what is stale changes nothing.
func TestHealth_WindowsEqualACountOfTheAttempts(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	p := newPatient(t)
	type came struct {
		at time.Time
		ok bool
	}
	var all []came
	for range 3000 {
		p.pass(time.Duration(rnd.ExpFloat64() * float64(time.Minute)))
		ok := rnd.IntN(3) > 0
		p.attempts(1, map[bool]int{true: 200, false: 503}[ok])
		all = append(all, came{p.now, ok})
		if rnd.IntN(20) > 0 {
			continue
		}
		p.pass(time.Duration(rnd.IntN(3)) * 3 * time.Minute)
		p.health().Forget(p.now)
		got := p.health().Windows(p.now)
		for name, slot := range map[string]struct {
			n     int64
			width time.Duration
		}{"5m": {30, 10 * time.Second}, "1h": {60, time.Minute}, "24h": {96, 15 * time.Minute}} {
			number := func(at time.Time) int64 { return at.Unix() / int64(slot.width/time.Second) }
			n, good := 0, 0
			for _, c := range all {
				if number(c.at) > number(p.now)-slot.n {
					n++
					if c.ok {
						good++
					}
				}
			}
			if w := got[name]; w.Attempts != n || w.Succeeded != good || w.Failed != n-good || w.Errors["503"] != n-good {
				t.Fatalf("%s at %s: %+v, want %d attempts, %d good", name, p.now, w, n, good)
			}
		}
	}
}

// TestHealth_QuantilesAreWithinTheirBuckets holds them against the sorted latencies.
func TestHealth_QuantilesAreWithinTheirBuckets(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 3))
	p := newPatient(t)
	var all []int64
	for range 5000 {
		us := int64(1000 * (1 + 40*rnd.ExpFloat64()))
		s := p.begin()
		p.write(s, &domain.ResponseReceived{Attempt: "att_1", Status: 200, Timings: domain.Timings{Total: us}},
			&domain.DeliverySucceeded{})
		all = append(all, us)
	}
	slices.Sort(all)
	w := p.health().Windows(p.now)["1h"]
	for percent, got := range map[int]float64{50: w.P50, 95: w.P95, 99: w.P99} {
		want := float64(all[(len(all)*percent+99)/100-1]) / 1000
		if got < want/1.5 || got > want*1.5 {
			t.Errorf("p%d is %.1f ms, said to be %.1f", percent, want, got)
		}
	}
}

// TestHealth_ClocksThatJump: whatever times records have, the memory stays bounded, and nothing panics.
func TestHealth_ClocksThatJump(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 4))
	p := newPatient(t)
	for range 5000 {
		p.now = start.Add(time.Duration(rnd.Int64N(int64(1000*time.Hour))) - 500*time.Hour)
		p.attempts(1, []int{200, 500 + rnd.IntN(90)}[rnd.IntN(2)])
	}
	if n := len(encoded(t, p.health())); n > 60_000 {
		t.Fatalf("%d bytes are stored", n)
	}
	p.health().Windows(p.now)
}

func BenchmarkHealth_Delivery(b *testing.B) {
	const endpoints = 50
	fold := domain.NewHealthFold(domain.DefaultHealthConfig())
	now := start
	var records [][]*domain.Record
	for i := range endpoints {
		ep := "ep_01JPHK8Z00T1V3X5Y7Z9A2C4E" + string(rune('A'+i))
		fold.Apply(&domain.Record{Stream: domain.EndpointStream("default", ep), Tenant: "default",
			Fact: &domain.EndpointRegistered{}})
		s := domain.DeliveryStream("default", "dlv_01JPHK9Q0BC7E2S9A1F4K6M8P"+string(rune('A'+i%26))+string(rune('A'+i/26)))
		var of []*domain.Record
		for _, f := range []domain.Fact{
			&domain.DeliveryScheduled{Endpoint: "ep_01JPHK8Z00T1V3X5Y7Z9A2C4E" + string(rune('A'+i))},
			&domain.AttemptStarted{Attempt: "att_1", N: 1, Endpoint: "ep_01JPHK8Z00T1V3X5Y7Z9A2C4E" + string(rune('A'+i))},
			&domain.RequestSigned{Attempt: "att_1"},
			&domain.ResponseReceived{Attempt: "att_1", Status: 200, Timings: domain.Timings{Total: 3200}},
			&domain.DeliverySucceeded{Attempt: "att_1", Attempts: 1},
		} {
			of = append(of, &domain.Record{Stream: s, Tenant: "default", RecordedAt: now, Fact: f})
		}
		records = append(records, of)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%10_000 == 0 {
			now = now.Add(time.Second)
		}
		for _, r := range records[i%endpoints] {
			r.RecordedAt = now
			fold.Apply(r)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5, "ns/record")
}
