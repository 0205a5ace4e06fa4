package domain

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"
)

// HealthWindow is what an endpoint's attempts came to over a time. Latencies are of whole attempts, failed ones too, in
// milliseconds; they are read from buckets whose bounds are at most half as large again as their lower one, and a
// window ends at the bound of a slot: so the figures are as exact as that, and equal whoever folds them.
type HealthWindow struct {
	Attempts    int            `json:"attempts"`
	Succeeded   int            `json:"succeeded"`
	Failed      int            `json:"failed"`
	SuccessRate float64        `json:"success_rate"` // 0 to 1; 1 where there was no attempt
	P50         float64        `json:"p50_ms"`
	P95         float64        `json:"p95_ms"`
	P99         float64        `json:"p99_ms"`
	Errors      map[string]int `json:"errors"` // by code: "503", "timeout"
}

// Windows of health: each is a ring of slots.
const (
	slots5m, slot5m   = 30, 10 * time.Second
	slots1h, slot1h   = 60, time.Minute
	slots24h, slot24h = 96, 15 * time.Minute
)

const (
	// buckets of latency: under 500 us, then two to an octave up to 65.5 s, and what is longer.
	buckets   = 36
	bucketMin = 500 // us
	// maxCodes bounds the codes that a slot tells apart, for a receiver can answer with any of hundreds.
	maxCodes   = 12
	otherCodes = "other"
)

func bucketOf(us int64) int {
	if us < bucketMin {
		return 0
	}
	octave := 0
	for us >= 2*bucketMin && octave < buckets/2 {
		us /= 2
		octave++
	}
	half := 0
	if us >= bucketMin+bucketMin/2 {
		half = 1
	}
	return min(buckets-1, 1+2*octave+half)
}

// bucketFrom is the lower bound of a bucket, in us.
func bucketFrom(i int) float64 {
	if i == 0 {
		return 0
	}
	octave := float64(int64(bucketMin) << ((i - 1) / 2))
	if (i-1)%2 == 1 {
		octave += octave / 2
	}
	return octave
}

// codeCount is how often a code came. An answer's is its status; what got none has a name.
type codeCount struct {
	status int
	name   ErrorCode
	n      uint32
}

func (c *codeCount) text() string {
	if c.status != 0 {
		return strconv.Itoa(c.status)
	}
	return string(c.name)
}

// slot is a part of a window: its number since 1970, and what was counted in it.
type slot struct {
	number    int64
	attempts  uint32
	succeeded uint32
	latency   [buckets]uint32
	codes     []codeCount
}

func (s *slot) count(ok bool, bucket int, status int, name ErrorCode) {
	s.attempts++
	s.latency[bucket]++
	if ok {
		s.succeeded++
		return
	}
	for i := range s.codes {
		if c := &s.codes[i]; c.status == status && c.name == name {
			c.n++
			return
		}
	}
	if len(s.codes) >= maxCodes-1 {
		status, name = 0, otherCodes
		if last := &s.codes[len(s.codes)-1]; last.name == otherCodes {
			last.n++
			return
		}
	}
	s.codes = append(s.codes, codeCount{status: status, name: name, n: 1})
}

// ring holds the newest slots of a window in which something happened, in order: memory only for those. What is counted
// of a time before them is dropped, so a clock that jumps can't make it grow.
type ring struct {
	slots               []slot
	attempts, succeeded int // over all slots
}

func (r *ring) add(at time.Time, size int, width time.Duration, ok bool, bucket, status int, name ErrorCode) {
	number := at.Unix() / int64(width/time.Second)
	i := len(r.slots) - 1
	for i >= 0 && r.slots[i].number > number {
		i--
	}
	if i < 0 || r.slots[i].number != number {
		if len(r.slots) > 0 && number <= r.slots[len(r.slots)-1].number-int64(size) {
			return
		}
		r.slots = slices.Insert(r.slots, i+1, slot{number: number})
		i += 1 - r.drop(size)
	}
	r.slots[i].count(ok, bucket, status, name)
	r.attempts++
	if ok {
		r.succeeded++
	}
}

// drop takes away what lies before the window that ends with the newest slot, and says how many slots that were.
func (r *ring) drop(size int) int {
	oldest := r.slots[len(r.slots)-1].number - int64(size)
	n := 0
	for r.slots[n].number <= oldest {
		r.attempts -= int(r.slots[n].attempts)
		r.succeeded -= int(r.slots[n].succeeded)
		n++
	}
	if n > 0 {
		r.slots = slices.Delete(r.slots, 0, n)
	}
	return n
}

func (r ring) clone() ring {
	r.slots = slices.Clone(r.slots)
	for i := range r.slots {
		r.slots[i].codes = slices.Clone(r.slots[i].codes)
	}
	return r
}

// stale says that nothing of the ring lies in its window any more.
func (r *ring) stale(now time.Time, size int, width time.Duration) bool {
	n := len(r.slots)
	return n > 0 && r.slots[n-1].number <= now.Unix()/int64(width/time.Second)-int64(size)
}

// window adds up the slots that lie in the window at a time.
func (r *ring) window(now time.Time, size int, width time.Duration) HealthWindow {
	w := HealthWindow{SuccessRate: 1, Errors: map[string]int{}}
	oldest := now.Unix()/int64(width/time.Second) - int64(size)
	var latency [buckets]uint64
	for i := range r.slots {
		s := &r.slots[i]
		if s.number <= oldest {
			continue
		}
		w.Attempts += int(s.attempts)
		w.Succeeded += int(s.succeeded)
		for b, n := range s.latency {
			latency[b] += uint64(n)
		}
		for c := range s.codes {
			w.Errors[s.codes[c].text()] += int(s.codes[c].n)
		}
	}
	if w.Failed = w.Attempts - w.Succeeded; w.Attempts > 0 {
		w.SuccessRate = float64(w.Succeeded) / float64(w.Attempts)
		w.P50, w.P95, w.P99 = quantile(&latency, w.Attempts, 50), quantile(&latency, w.Attempts, 95),
			quantile(&latency, w.Attempts, 99)
	}
	return w
}

// quantile is the latency, in ms, that so many percent of the attempts did not exceed: the place within its bucket is
// taken as if the bucket were filled evenly.
func quantile(latency *[buckets]uint64, attempts, percent int) float64 {
	rank := (uint64(attempts)*uint64(percent) + 99) / 100
	var before uint64
	for b, n := range latency {
		if before+n < rank {
			before += n
			continue
		}
		from := bucketFrom(b)
		to := from
		if b < buckets-1 {
			to = bucketFrom(b + 1)
		}
		us := from + (to-from)*float64(rank-before)/float64(n)
		return float64(int64(us/100+0.5)) / 10
	}
	return 0
}

// A slot is stored as [number, attempts, succeeded, [bucket, n, …], [code, n, …]]. It is written by hand: a node
// stores thousands of them every few seconds.
func (s *slot) append(b []byte) []byte {
	b = strconv.AppendInt(append(b, '['), s.number, 10)
	b = strconv.AppendUint(append(b, ','), uint64(s.attempts), 10)
	b = strconv.AppendUint(append(b, ','), uint64(s.succeeded), 10)
	b = append(b, ",["...)
	for i, n := range s.latency {
		if n > 0 {
			b = strconv.AppendInt(b, int64(i), 10)
			b = append(strconv.AppendUint(append(b, ','), uint64(n), 10), ',')
		}
	}
	b = append(withoutComma(b), "],["...)
	for i := range s.codes {
		b = strconv.AppendQuote(b, s.codes[i].text())
		b = append(strconv.AppendUint(append(b, ','), uint64(s.codes[i].n), 10), ',')
	}
	return append(withoutComma(b), "]]"...)
}

func withoutComma(b []byte) []byte {
	if b[len(b)-1] == ',' {
		return b[:len(b)-1]
	}
	return b
}

var errSlot = errors.New("domain: no slot of a window")

func (s *slot) UnmarshalJSON(b []byte) error {
	var latency []uint32
	var codes []json.RawMessage
	parts := []any{&s.number, &s.attempts, &s.succeeded, &latency, &codes}
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	if len(parts) != 5 || len(latency)%2 != 0 || len(codes)%2 != 0 {
		return errSlot
	}
	for i := 0; i < len(latency); i += 2 {
		if latency[i] >= buckets {
			return errSlot
		}
		s.latency[latency[i]] = latency[i+1]
	}
	for i := 0; i < len(codes); i += 2 {
		var text string
		c := codeCount{}
		if err := errors.Join(json.Unmarshal(codes[i], &text), json.Unmarshal(codes[i+1], &c.n)); err != nil {
			return err
		}
		if status, err := strconv.Atoi(text); err == nil {
			c.status = status
		} else {
			c.name = ErrorCode(text)
		}
		s.codes = append(s.codes, c)
	}
	return nil
}

func (r ring) MarshalJSON() ([]byte, error) {
	b := make([]byte, 1, 2+64*len(r.slots))
	b[0] = '['
	for i := range r.slots {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.slots[i].append(b)
	}
	return append(b, ']'), nil
}

func (r *ring) UnmarshalJSON(b []byte) error {
	*r = ring{}
	if err := json.Unmarshal(b, &r.slots); err != nil {
		return err
	}
	for i := range r.slots {
		r.attempts += int(r.slots[i].attempts)
		r.succeeded += int(r.slots[i].succeeded)
	}
	return nil
}
