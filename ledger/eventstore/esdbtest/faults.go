package esdbtest

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Fault names one thing that a cluster does to its clients. Each has its opportunities: the moments at which it can
// happen; a [Rule] says at which of them it does.
type Fault string

// The faults of appends have one opportunity per append that would be answered with success.
const (
	// CommitThenUnavailable commits the append and answers Unavailable, as a node does that dies before it answers.
	CommitThenUnavailable Fault = "commit-then-unavailable"
	// CommitThenCancel commits the append and resets the call, which the client sees as Canceled.
	CommitThenCancel Fault = "commit-then-cancel"
	// CommitThenAbort commits the append and answers Aborted, "Operation timed out": the server's own write timeout.
	CommitThenAbort Fault = "commit-then-abort"
	// RefuseAppend answers Unavailable, "Server Is Not Ready", and commits nothing. One opportunity per append.
	RefuseAppend Fault = "refuse-append"
)

// The faults of subscriptions, to streams, to $all and to groups.
const (
	// DropSubscription ends a catch-up or live subscription with Aborted, "Consumer too slow", instead of sending its
	// next event. One opportunity per event.
	DropSubscription Fault = "drop-subscription"
	// SilentSubscription lets a subscription send nothing any more while its connection stays up and answers pings,
	// until the client gives up. One opportunity per event.
	SilentSubscription Fault = "silent-subscription"
	// RedeliverAcked sends an event to the group's consumers again although its ack has arrived. One opportunity per
	// acked event.
	RedeliverAcked Fault = "redeliver-acked"
)

// The faults of connections.
const (
	// RefuseConnection resets a connection as soon as it is made. One opportunity per connection.
	RefuseConnection Fault = "refuse-connection"
	// SlowConnection holds back each write of a connection for [Options.SlowBy]. One opportunity per connection.
	SlowConnection Fault = "slow-connection"
	// CutConnection closes a connection under the append that it carries, before anything is committed. One opportunity
	// per append.
	CutConnection Fault = "cut-connection"
)

// The faults of nodes. They need a [Cluster]; one opportunity per append that would be answered with success.
const (
	// KillLeader kills the leader between the commit and the answer: every connection of it breaks, another node is
	// elected, and the killed one comes back as a follower.
	KillLeader Fault = "kill-leader"
	// FreezeLeader stops the leader between the commit and the answer, without a word to anybody: its connections stay
	// up and silent until it is started again. Another node is elected.
	FreezeLeader Fault = "freeze-leader"
)

// AllFaults lists every fault, in the order of this file.
func AllFaults() []Fault {
	return []Fault{CommitThenUnavailable, CommitThenCancel, CommitThenAbort, RefuseAppend, DropSubscription,
		SilentSubscription, RedeliverAcked, RefuseConnection, SlowConnection, CutConnection, KillLeader, FreezeLeader}
}

// Rule says at which of its opportunities a fault happens. The zero value never does.
type Rule struct {
	After  int     // opportunities that pass unharmed first
	Times  int     // then so many in a row are taken
	Chance float64 // and behind them each with this probability, from 0 to 1
}

// Next takes the next n opportunities.
func Next(n int) Rule { return Rule{Times: n} }

// Chance takes each opportunity with probability p.
func Chance(p float64) Rule { return Rule{Chance: p} }

// Faults are the switches of a server or a cluster. They are safe for concurrent use, can be changed while the server
// runs, and survive its restarts. Each fault draws from a generator of its own, so that with one seed the same
// opportunities of a fault are taken whatever the others do.
type Faults struct {
	seed uint64

	mu       sync.Mutex
	switches map[Fault]*faultSwitch // guarded by mu
}

type faultSwitch struct {
	rule  Rule
	draw  *rand.Rand
	seen  int
	fired int
}

// NewFaults returns switches that are all off. Print the seed: it is what reproduces a run.
func NewFaults(seed uint64) *Faults {
	return &Faults{seed: seed, switches: map[Fault]*faultSwitch{}}
}

// ParseFaults reads switches as the command line gives them: "commit-then-unavailable=0.01,drop-subscription=3". A
// number with a point is a probability, one without takes so many of the next opportunities.
func ParseFaults(text string, seed uint64) (*Faults, error) {
	f := NewFaults(seed)
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		if !slices.Contains(AllFaults(), Fault(name)) {
			return nil, fmt.Errorf("faults: %q is none: they are %v", name, AllFaults())
		}
		if !found {
			return nil, fmt.Errorf("faults: %s needs a probability (0.01) or a count (3): %s=0.01", name, name)
		}
		var rule Rule
		if n, err := strconv.Atoi(value); err == nil && n >= 0 {
			rule = Next(n)
		} else if p, err := strconv.ParseFloat(value, 64); err == nil && p >= 0 && p <= 1 {
			rule = Chance(p)
		} else {
			return nil, fmt.Errorf("faults: %s=%s is neither a probability from 0.0 to 1.0 nor a count", name, value)
		}
		f.Set(Fault(name), rule)
	}
	return f, nil
}

// Seed returns what the random draws start from.
func (f *Faults) Seed() uint64 { return f.seed }

// Set gives a fault a new rule, counted from its next opportunity. The counters go on.
func (f *Faults) Set(fault Fault, rule Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at(fault).rule = rule
}

// Off turns every fault off.
func (f *Faults) Off() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.switches {
		s.rule = Rule{}
	}
}

// Fired returns how often a fault happened.
func (f *Faults) Fired(fault Fault) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at(fault).fired
}

// Seen returns how many opportunities a fault had.
func (f *Faults) Seen(fault Fault) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at(fault).seen
}

// String lists the faults that happened and how often: "commit-then-cancel 3 of 120, kill-leader 1 of 120".
func (f *Faults) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var parts []string
	for _, fault := range AllFaults() {
		if s := f.switches[fault]; s != nil && s.fired > 0 {
			parts = append(parts, fmt.Sprintf("%s %d of %d", fault, s.fired, s.seen))
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// fires counts an opportunity and says whether the fault takes it. A nil f has no faults.
func (f *Faults) fires(fault Fault) bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.at(fault)
	s.seen++
	switch {
	case s.rule.After > 0:
		s.rule.After--
		return false
	case s.rule.Times > 0:
		s.rule.Times--
	case s.rule.Chance <= 0 || s.draw.Float64() >= s.rule.Chance:
		return false
	}
	s.fired++
	return true
}

// at returns the fault's switch; f.mu is held.
func (f *Faults) at(fault Fault) *faultSwitch {
	s := f.switches[fault]
	if s == nil {
		h := fnv.New64a()
		h.Write([]byte(fault))
		s = &faultSwitch{draw: rand.New(rand.NewPCG(f.seed, h.Sum64()))}
		f.switches[fault] = s
	}
	return s
}
