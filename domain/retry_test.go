package domain_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hookledger/domain"
)

func TestDefaultRetrySchedule_LastsAboutThreeDays(t *testing.T) {
	t.Parallel()
	var sum time.Duration
	for _, d := range domain.DefaultRetrySchedule() {
		sum += time.Duration(d)
	}
	if sum < 72*time.Hour || sum > 80*time.Hour {
		t.Errorf("the schedule lasts %s", sum)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	p := policy(5*time.Second, 5*time.Minute)
	for _, c := range []struct {
		step   int
		jitter float64
		want   time.Duration
		ok     bool
	}{
		{0, 0, 5 * time.Second, true},
		{0, 1, 6 * time.Second, true},
		{0, -1, 4 * time.Second, true},
		{1, 0.5, 330 * time.Second, true},
		{0, 7, 6 * time.Second, true},
		{0, math.NaN(), 0, true},
		{2, 0, 0, false},
		{-1, 0, 0, false},
	} {
		if got, ok := p.Backoff(c.step, c.jitter); got != c.want || ok != c.ok {
			t.Errorf("step %d, jitter %v: %s %v", c.step, c.jitter, got, ok)
		}
	}
}

// Whatever the policy and the jitter, a wait lies within the policy's share of its step, and within its bounds.
func TestBackoff_StaysInItsShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		step := time.Duration(rapid.Int64Range(0, int64(domain.MaxRetryWait)).Draw(t, "step"))
		share := rapid.Float64Range(0, 1).Draw(t, "share")
		p := domain.RetryPolicy{Schedule: []domain.Duration{domain.Duration(step)}, Jitter: share}
		got, ok := p.Backoff(0, rapid.Float64Range(-1, 1).Draw(t, "jitter"))
		slack := time.Duration(float64(step)*share) + time.Millisecond
		if !ok || got < 0 || got > domain.MaxRetryWait || got < step-slack || got > step+slack {
			t.Fatalf("waits %s for %s with a share of %v", got, step, share)
		}
	})
}

func TestDuration_IsWrittenAsItIsRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"5s": 5 * time.Second, "30m": 30 * time.Minute, "1h": time.Hour, "1h30m": 90 * time.Minute, "0s": 0,
		"1h0m5s": time.Hour + 5*time.Second, "100h": 100 * time.Hour, "1.5s": 1500 * time.Millisecond,
		"10m": 10 * time.Minute,
	} {
		var d domain.Duration
		if err := json.Unmarshal([]byte(`"`+text+`"`), &d); err != nil || time.Duration(d) != want || d.String() != text {
			t.Errorf("%s was read as %s: %v", text, d, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := domain.Duration(rapid.Int64().Draw(t, "ns"))
		var again domain.Duration
		b, err := d.MarshalText()
		if err != nil || again.UnmarshalText(b) != nil || again != d {
			t.Fatalf("%s was read as %s: %v", b, again, err)
		}
	})
	var d domain.Duration
	for _, text := range []string{"", "5", "soon", "5 s"} {
		if d.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q was read as %s", text, d)
		}
	}
}
