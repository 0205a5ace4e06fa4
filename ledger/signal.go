package ledger

import "sync"

// Signal wakes all that wait for it at once. The zero value is ready. Take Next, look whether what you wait for is
// there, and only then wait: what comes after Next fires it.
type Signal struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; nil while nobody waits
}

// Next is closed by the next Fire.
func (s *Signal) Next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Fire wakes all that took Next before.
func (s *Signal) Fire() {
	s.mu.Lock()
	ch := s.ch
	s.ch = nil
	s.mu.Unlock()
	if ch != nil {
		close(ch)
	}
}
