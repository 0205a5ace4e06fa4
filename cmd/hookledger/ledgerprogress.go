package main

import (
	"fmt"
	"time"

	"hookledger/cmd/hookledger/output"
)

// sayEvery is how often a long command says how far it is where there is no terminal to draw a bar on.
const sayEvery = 10 * time.Second

// counting says how far a long command is: by a bar on a terminal, else by a line now and then.
type counting struct {
	a     *app
	verb  string // in the past tense
	total int64  // 0: nobody knows
	at    int64
	bar   *output.Progress
	drawn bool // the bar is: nothing else is said
	said  time.Time
}

func (a *app) counting(verb string, total int64) *counting {
	c := &counting{a: a, verb: verb, total: total, said: time.Now(), drawn: output.IsTerminal(a.err)}
	c.bar = output.NewProgress(a.err, verb, total)
	return c
}

func (c *counting) set(n int64) {
	c.at = n
	c.bar.Set(n)
	if !c.drawn && time.Since(c.said) >= sayEvery {
		c.said = time.Now()
		c.a.note("%s", c)
	}
}

func (c *counting) String() string {
	if c.total == 0 {
		return fmt.Sprintf("%s %d records", c.verb, c.at)
	}
	return fmt.Sprintf("%s %d of %d records (%d %%)", c.verb, c.at, c.total, 100*c.at/c.total)
}

// done takes the bar away.
func (c *counting) done() { c.bar.Done() }
