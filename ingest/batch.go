package ingest

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"hookledger/domain"
	"hookledger/ledger"
)

// MaxBatch is the number of posts that PostBatch takes.
const MaxBatch = 1000

// batchAppends is how many posts of a batch are under way at a time. They wait together for the same commits.
const batchAppends = 256

// Result is one post's of a batch: a receipt or an error.
type Result struct {
	Receipt *Receipt
	Err     error
}

// PostBatch accepts up to MaxBatch posts, each on its own; the results stand in the order of the posts. Of posts with
// the same id the earliest comes first, and the others are its repeats. Posts that an ordered endpoint gets come to the
// ledger in their order; where one of them could not be written, those behind it are not tried.
func (in *Ingest) PostBatch(ctx context.Context, posts []Post) []Result {
	results := make([]Result, len(posts))
	if len(posts) > MaxBatch {
		err := domain.Refuse(domain.KindTooLarge, "batch_too_large",
			"the batch has "+strconv.Itoa(len(posts))+" events", "send at most "+strconv.Itoa(MaxBatch)+" at a time")
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	ctx, cancel := context.WithTimeout(ctx, in.within)
	defer cancel()
	type event struct{ tenant, id string }
	type item struct {
		event
		own  bool
		next int // the next post with the same id, or -1
	}
	items, last := make([]item, len(posts)), make(map[event]int, len(posts))
	heads := make([]int, 0, len(posts))
	in.rates.admitBatch(in, posts, results)
	for i := range posts {
		if results[i].Err != nil {
			in.posts.count(nil, results[i].Err)
			continue
		}
		id, own := in.eventID(&posts[i])
		it := item{event: event{posts[i].Tenant, id}, own: own, next: -1}
		if prev, ok := last[it.event]; ok {
			items[prev].next = i
		} else {
			heads = append(heads, i)
		}
		last[it.event], items[i] = i, it
	}
	post := func(i int) {
		results[i].Receipt, results[i].Err = in.post(ctx, &posts[i], items[i].id, items[i].own)
	}
	line, heads := in.inLine(posts, heads, func(i int) int { return items[i].next })
	var taken atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() { postInLine(line, results, post) })
	for range min(batchAppends, len(heads)) {
		wg.Go(func() {
			ledger.GrowStack()
			for {
				n := int(taken.Add(1)) - 1
				if n >= len(heads) {
					return
				}
				for i := heads[n]; i >= 0; i = items[i].next {
					post(i)
				}
			}
		})
	}
	wg.Wait()
	return results
}
