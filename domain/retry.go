package domain

import (
	"math"
	"time"
)

// DefaultRetrySchedule is the wait before each retry: about 3 days and 4 hours in all.
func DefaultRetrySchedule() []Duration {
	return []Duration{
		Duration(5 * time.Second), Duration(5 * time.Minute), Duration(30 * time.Minute), Duration(2 * time.Hour),
		Duration(5 * time.Hour), Duration(10 * time.Hour), Duration(14 * time.Hour), Duration(20 * time.Hour),
		Duration(24 * time.Hour),
	}
}

// Bounds of what a retry may wait, and of a schedule.
const (
	DefaultJitter      = 0.2
	MaxRetryAfter      = 24 * time.Hour
	MaxRetryWait       = 7 * 24 * time.Hour
	MaxScheduleSteps   = 50
	DefaultTimeout     = 20 * time.Second
	MaxTimeout         = 60 * time.Second
	MaxInterruptions   = 10 // in a row; the last one exhausts the delivery
	maxInterruptedWait = time.Minute
)

// Backoff is the wait before retry number step (from 0), moved by jitter (-1 to 1) within the policy's share. It says
// false when the schedule has no such step.
func (p RetryPolicy) Backoff(step int, jitter float64) (time.Duration, bool) {
	if step < 0 || step >= len(p.Schedule) {
		return 0, false
	}
	d := float64(p.Schedule[step])
	d += d * p.Jitter * max(-1, min(1, jitter))
	if math.IsNaN(d) || d < 0 {
		d = 0
	}
	return time.Duration(min(d, float64(MaxRetryWait))).Round(time.Millisecond), true
}

// interruptedBackoff is the wait after the n-th interruption in a row: none, then 1 s, doubled up to a minute.
func interruptedBackoff(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	return min(time.Second<<min(n-2, 10), maxInterruptedWait)
}
