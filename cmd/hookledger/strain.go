package main

import (
	"runtime/metrics"
	"time"
)

// Goroutines wait for a processor now and then; where more than one in strainedShare waits longer than strainedWait,
// there is no CPU to spare.
const (
	schedLatencies = "/sched/latencies:seconds"
	strainedWait   = 100 * time.Microsecond
	strainedShare  = 50
	strainedLeast  = 20 // samples; fewer say nothing
)

// newStrain gives a function that says whether this process lacks CPU, going by how long goroutines waited for a
// processor since it was asked last. It is for one goroutine at a time.
func newStrain() func() bool {
	sample := []metrics.Sample{{Name: schedLatencies}}
	var before []uint64
	return func() bool {
		metrics.Read(sample)
		if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
			return false // a runtime that does not say
		}
		h := sample[0].Value.Float64Histogram()
		var all, long uint64
		for i, n := range h.Counts {
			if i < len(before) {
				n -= before[i]
			}
			all += n
			if h.Buckets[i] >= strainedWait.Seconds() {
				long += n
			}
		}
		before = append(before[:0], h.Counts...)
		return all >= strainedLeast && long*strainedShare > all
	}
}
