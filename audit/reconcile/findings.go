package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"

	"hookledger/domain"
)

// findings keeps what was found, up to a limit, and runs a digest over all of it.
type findings struct {
	max    int
	list   []Finding
	counts map[string]int
	sum    hash.Hash
}

func newFindings(most int) *findings {
	return &findings{max: most, list: []Finding{}, counts: map[string]int{}, sum: sha256.New()}
}

func (o *findings) add(f Finding) {
	if f.Proof == nil {
		f.Proof = []string{}
	}
	o.counts[f.Kind]++
	o.hash(f)
	if len(o.list) < o.max {
		o.list = append(o.list, f)
	}
}

// hash takes a part of the report into the digest.
func (o *findings) hash(part any) {
	if err := json.NewEncoder(o.sum).Encode(part); err != nil {
		panic("reconcile: " + err.Error()) // of types that are ours: a broken build
	}
}

// digest is over the rules, what was asked for, and the whole report; not over the position, so that two runs with the
// same digest say the same.
func (e *engine) digest() string {
	r := e.report
	e.out.hash(e.rules)
	e.out.hash(e.Agents)
	if e.File != nil {
		e.out.hash(e.File.SHA256)
	}
	for _, part := range []any{r.Totals, r.Amounts, r.Groups, r.Accounts, r.Gaps, r.Outside} {
		e.out.hash(part)
	}
	return hex.EncodeToString(e.out.sum.Sum(nil))
}

// numbers looks for gaps in a producer's numbers.
func (e *engine) numbers(ctx context.Context) error {
	n := e.rules.Numbered
	if n == nil {
		return nil
	}
	g := &Gaps{Source: n.Source, From: n.From, To: n.To, Ranges: []Span{}}
	next, over := n.From, false // over: the last number that there is was seen
	missing := func(from, to uint64) {
		g.Missing += to - from + 1
		r := Span{from, to}
		e.out.hash(r)
		if len(g.Ranges) < e.MaxListed {
			g.Ranges = append(g.Ranges, r)
		}
	}
	var last domain.NumberedEvent
	twice := false
	for ev, err := range e.ledger.Numbered(ctx, *n, e.AsOf) {
		if err != nil {
			return fmt.Errorf("read the numbers of %s: %w", n.Source, err)
		}
		if last.ID != "" && ev.Sequence == last.Sequence {
			if !twice && len(g.Twice) < e.MaxListed {
				g.Twice = append(g.Twice, TwiceUsed{Sequence: ev.Sequence, Events: []string{last.ID}})
			}
			if t := len(g.Twice); t > 0 && g.Twice[t-1].Sequence == ev.Sequence {
				g.Twice[t-1].Events = append(g.Twice[t-1].Events, ev.ID)
			}
			twice = true
			continue
		}
		if ev.Sequence > next {
			missing(next, ev.Sequence-1)
		}
		g.Present++
		next, over = ev.Sequence+1, ev.Sequence == n.To
		last, twice = ev, false
	}
	if !over {
		missing(next, n.To)
	}
	g.Complete = g.Missing == 0 && len(g.Twice) == 0
	e.report.Gaps = g
	return nil
}
