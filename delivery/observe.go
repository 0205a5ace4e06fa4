package delivery

import (
	"time"

	"hookledger/domain"
)

// Seen is an attempt that has ended, as its Observer is told of it. Nothing in it is secret.
type Seen struct {
	Due     domain.Due
	Attempt string
	N       int
	Host    string
	Ended   time.Time
	Status  int              // of the answer; 0: there was none
	Code    domain.ErrorCode // why it failed; empty: it did not
	Timings domain.Timings
}

// Observer is told of each attempt once its outcome is on the ledger. It is called by many goroutines at once and must
// not block.
type Observer interface {
	Attempt(s *Seen)
}

// observe tells the observer, if there is one, of what the ledger holds by now.
func (a *attempt) observe(r *result, ended time.Time, unrecorded error) {
	if a.d.cfg.Observer == nil || unrecorded != nil {
		return
	}
	a.d.cfg.Observer.Attempt(&Seen{Due: a.due, Attempt: a.id, N: a.state.Attempts, Host: a.endpoint.Config.Host,
		Ended: ended, Status: r.status, Code: r.code, Timings: r.timings})
}

// count counts an attempt that has ended; total is in microseconds.
func (a *attempt) count(code domain.ErrorCode, status int, total int64) {
	a.d.metrics.attempt(a.it.state, code, status, total)
}
