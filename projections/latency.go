package projections

import (
	"math/bits"
	"time"
)

// Latencies are counted in buckets of fixed bounds: one for each microsecond up to 256, then 128 between each power of
// two and the next. So a bucket is at most 1/128 of its latency wide.
const bucketsPerPower = 128

// LatencyError bounds what a percentile is over the exact one, as a part of it; it is never under it.
const LatencyError = 1.0 / bucketsPerPower

// bucketOf is the bucket of a latency in microseconds. Clocks of two nodes may differ: what ended before it began took
// no time.
func bucketOf(us int64) int {
	us = max(us, 0)
	shift := max(bits.Len64(uint64(us))-8, 0)
	return bucketsPerPower*shift + int(us>>shift)
}

// bucketEnd is the longest latency of a bucket, in microseconds.
func bucketEnd(bucket int) int64 {
	shift := max(bucket/bucketsPerPower-1, 0)
	return int64(bucket-bucketsPerPower*shift+1)<<shift - 1
}

// latencies are how many were in each bucket, the shortest first.
type latencies []bucketCount

type bucketCount struct{ bucket, count int }

func (l latencies) total() int {
	n := 0
	for _, b := range l {
		n += b.count
	}
	return n
}

// percentile is the latency that so many of a hundred did not exceed: the nearest rank, as the end of its bucket. There
// must be some.
func (l latencies) percentile(p int) time.Duration {
	rank := max((l.total()*p+99)/100, 1)
	for _, b := range l {
		if rank -= b.count; rank <= 0 {
			return time.Duration(bucketEnd(b.bucket)) * time.Microsecond
		}
	}
	return 0
}

// within counts those that certainly took no longer: what shares the target's bucket counts only if the bucket ends
// there.
func (l latencies) within(target time.Duration) int {
	n := 0
	for _, b := range l {
		if bucketEnd(b.bucket) <= target.Microseconds() {
			n += b.count
		}
	}
	return n
}
