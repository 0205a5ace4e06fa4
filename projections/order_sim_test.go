package projections

import "hookledger/domain"

const ep3 = "ep_3" // ordered, now and then

// line is what the ordered endpoint's deliveries must keep to.
type line struct {
	order order
	place map[string]domain.Position // of each delivery that was routed there
	stuck map[string]bool            // exhausted, while those behind it were to wait
	left  map[string]bool            // ended, so that nobody waits behind it, and not begun again since
}

func newLine() line {
	return line{place: map[string]domain.Position{}, stuck: map[string]bool{}, left: map[string]bool{}}
}

func (l *line) see(r *domain.Record) {
	id := r.Stream.ID()
	switch f := r.Fact.(type) {
	case *domain.EventRouted:
		for _, m := range f.Matches {
			if m.Endpoint == ep3 {
				l.place[m.Delivery] = r.Position
			}
		}
	case *domain.EndpointReconfigured:
		if l.order = orderOf(&f.Config); !l.order.wait {
			l.release()
		}
	case *domain.EndpointRemoved:
		if id == ep3 {
			l.order = order{}
			l.release()
		}
	case *domain.DeliveryExhausted:
		l.stuck[id] = l.place[id] > 0 && l.order.wait && !f.Confirmed
		l.left[id] = !l.stuck[id]
	case *domain.DeliveryCancelled, *domain.DeliverySucceeded:
		delete(l.stuck, id)
		l.left[id] = true
	case *domain.RetryRequested:
		delete(l.stuck, id)
	case *domain.AttemptStarted:
		delete(l.left, id)
	}
}

// release lets all go on that stand behind an exhausted one.
func (l *line) release() {
	for id, is := range l.stuck {
		l.left[id] = l.left[id] || is
	}
	clear(l.stuck)
}

// checkTurn says that it is the delivery's turn: nothing else of the endpoint is under way, and all that the ledger has
// before it has ended, and is not waited for.
func (s *sim) checkTurn(id string) {
	if !s.line.order.ordered {
		return
	}
	for _, f := range s.flying {
		if f.due.Endpoint == ep3 && f.due.Replay == "" {
			s.rt.Fatalf("%s was offered while %s is in flight", id, f.due.Delivery)
		}
	}
	takeover := s.seen[id].Open != nil
	for other, at := range s.line.place {
		d := s.seen[other]
		switch _, unknown := s.p.backlog.orphans[other]; {
		case other == id || takeover || s.dead[other]:
		case d.Open != nil:
			s.rt.Fatalf("%s was offered while %s has an open attempt", id, other)
		case at > s.line.place[id] || unknown && s.line.left[other]:
			// It stands behind; or somebody reopened it when nobody waited for it any more, and its row is still looked for.
		case s.line.stuck[other]:
			s.rt.Fatalf("%s was offered though %s before it is exhausted", id, other)
		case !d.Status.Terminal():
			s.rt.Fatalf("%s was offered before %s has ended: %s", id, other, d.Status)
		}
	}
}
