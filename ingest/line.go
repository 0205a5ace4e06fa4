package ingest

import (
	"errors"
	"slices"

	"hookledger/domain"
)

// Where an ordered endpoint gets more than one event of a batch, they must stand on the ledger in the batch's order:
// its deliveries go out in the ledger's. Appends of one store can't be ordered but by waiting for each.

// inLine splits the heads into the posts that must come one after the other, with their repeats, in the batch's order,
// and the heads of the others. next gives the next post with the same id, -1 for none.
func (in *Ingest) inLine(posts []Post, heads []int, next func(int) int) (line, others []int) {
	for _, head := range heads {
		ordered := false
		for i := head; i >= 0 && !ordered; i = next(i) {
			ordered = in.ordered(&posts[i])
		}
		if !ordered {
			others = append(others, head)
			continue
		}
		for i := head; i >= 0; i = next(i) {
			line = append(line, i)
		}
	}
	slices.Sort(line)
	return line, others
}

// ordered says whether an ordered endpoint gets the event.
func (in *Ingest) ordered(p *Post) bool {
	routing, ok := in.dir.Routing(p.Tenant)
	return ok && slices.ContainsFunc(routing.Endpoints, func(e *domain.Endpoint) bool {
		return e.Config.Ordered && domain.MatchAny(e.Config.EventTypes, p.Event)
	})
}

// postInLine posts one after the other. Behind one that could not be written, or of which that is not known, nothing
// more is tried: whoever repeats the batch gets it into its order.
func postInLine(line []int, results []Result, post func(int)) {
	for n, i := range line {
		post(i)
		if !lost(results[i].Err) {
			continue
		}
		for _, behind := range line[n+1:] {
			results[behind].Err = domain.Refuse(domain.KindUnavailable, "not_tried",
				"an event before it in the batch could not be written, and an ordered endpoint gets both; nothing was written",
				"repeat the batch with the same ids")
		}
		return
	}
}

// lost says that a post failed by no fault of its own.
func lost(err error) bool {
	if err == nil {
		return false
	}
	var refusal *domain.Error
	return !errors.As(err, &refusal) || refusal.Kind == domain.KindUnavailable || refusal.Kind == domain.KindNoRoom
}
