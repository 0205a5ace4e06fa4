package main

import (
	"time"

	"hookledger/ledger/ledgercopy"
)

// copySteps says how far a copy is, step by step.
type copySteps struct {
	a    *app
	sum  ledgercopy.Summary
	to   *place
	step *counting
}

// begin ends the step before and begins one.
func (s *copySteps) begin(verb string, at int64) {
	if s.step == nil || s.step.verb != verb {
		s.end()
		s.step = s.a.counting(verb, s.sum.Records)
	}
	s.step.set(at)
}

func (s *copySteps) end() {
	if s.step != nil {
		s.step.done()
	}
	s.step = nil
}

func (s *copySteps) compared(n int64) { s.begin("compared", n) }

// met says what is ahead before it begins.
func (s *copySteps) met(there int64) {
	s.end()
	if there > 0 {
		s.a.note("%d of %d records are there already, the same as at the source: going on behind them.", there, s.sum.Records)
	}
	left := s.sum.Records - there
	if left == 0 {
		return
	}
	// How many appends the rest takes is not counted apart: it is about its share of all.
	appends := max(1, s.sum.Appends*left/s.sum.Records)
	rate := int64(embeddedAppends)
	if s.to.store.remote() {
		rate = eventstoreAppends
	}
	takes := "less than a second"
	if t := time.Duration(appends) * time.Second / time.Duration(rate); t >= time.Second {
		takes = t.Round(time.Second).String()
	}
	s.a.note("copying %d records (%d KiB) in about %d appends, one after the other, so that they keep their order: at %d a "+
		"second, as was measured on a local disk, %s.", left, (s.sum.Bytes*left/s.sum.Records+1023)>>10, appends, rate, takes)
}

func (s *copySteps) copied(n int64) { s.begin("copied", n) }

func (s *copySteps) checked(n int64) { s.begin("read back", n) }
