package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
)

// maxBatchBytes bounds what the records of one transaction hold in memory.
const maxBatchBytes = 32 << 20

// retryPause is how long the history waits before it repeats a transaction that failed, on a full disk above all.
const retryPause = time.Second

// history folds the ledger into rows. run is its only writer.
type history struct {
	store   ledger.Reader
	db      *database
	w       *writer
	at      checkpoint                   // what the rows hold; used by the goroutine that folds
	size    int                          // records of one transaction, at most
	folded  int                          // records of the last round
	open    openStates                   // as the last transaction left them
	orders  map[domain.EndpointKey]order // likewise; nil: to be read
	every   time.Duration
	now     func() time.Time
	log     *slog.Logger
	metrics *metrics
	away    absence // of the store; used by the goroutine that folds

	health   *Health // whose fold is stored beside the rows
	progress progress
	// flushed is called after each transaction, with the position that the rows hold from then on.
	flushed func(domain.Position)

	mu      sync.Mutex
	wanted  domain.Position // somebody waits for this position; guarded by mu
	failing error           // the transaction that is being repeated; guarded by mu
	hurry   chan struct{}   // wanted was raised
}

// want asks that the position be reached without waiting for the next flush. What is not on the ledger yet can't be
// hurried: a position that is never reached would stay wanted, and no records would gather any more.
func (h *history) want(pos domain.Position) {
	pos = min(pos, h.store.Head())
	h.mu.Lock()
	defer h.mu.Unlock()
	if pos > h.wanted {
		h.wanted = pos
		select {
		case h.hurry <- struct{}{}:
		default:
		}
	}
}

func (h *history) isWanted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wanted > h.at.position
}

func (h *history) setFailing(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failing = err
}

// run folds behind the live follower, which it never overtakes, until ctx ends or a record can't be folded.
func (h *history) run(ctx context.Context, live *progress) error {
	for {
		if err := live.wait(ctx, h.at.position+1); err != nil {
			if ctx.Err() == nil {
				h.progress.stop(err)
			}
			return ctx.Err()
		}
		h.progress.behind(h.now())
		if err := h.pause(ctx, h.gather(), live); err != nil {
			return err
		}
		// What comes meanwhile gathers for the next round, else each round would end in transactions of a few records.
		limit := live.position()
		for h.folded = 0; h.at.position < limit; {
			if err := h.step(ctx, limit); err != nil {
				return err
			}
		}
		h.progress.behind(time.Time{})
		if h.health.due() {
			if err := h.db.broken(h.health.save(context.WithoutCancel(ctx), h.w)); err != nil {
				h.log.Warn("the health of endpoints is stored later", "error", err)
			}
		}
	}
}

// busyRecords is how many records a transaction holds where it pays to let them gather for the whole time.
const busyRecords = 2000

// gather is how long records may gather: the busier the ledger was of late, the longer, up to every; a tenth of that
// where little happens, so that what was just posted is soon in the lists.
func (h *history) gather() time.Duration {
	return max(h.every/10, h.every*time.Duration(min(h.folded, busyRecords))/busyRecords)
}

// pause lets records gather, for as long as more come and nobody waits for them.
func (h *history) pause(ctx context.Context, d time.Duration, live *progress) error {
	timer, lull := time.NewTimer(d), time.NewTicker(max(1, h.every/10))
	defer timer.Stop()
	defer lull.Stop()
	for seen := live.position(); !h.isWanted(); {
		select {
		case <-timer.C:
			return nil
		case <-lull.C:
			at := live.position()
			if at == seen {
				return nil
			}
			seen = at
		case <-h.hurry:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// step folds one transaction. What can pass by itself is repeated; a record that can't be folded and a damaged file
// stop the projection: then step waits for ctx to end, for the rest of the process goes on.
func (h *history) step(ctx context.Context, limit domain.Position) error {
	err := h.advance(ctx, limit)
	if err == nil {
		h.away.back()
	} else if h.away.wait(ctx, err) {
		return nil
	}
	h.setFailing(err)
	var bad *foldError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &bad), errors.Is(err, errDamaged):
		h.log.Error("the history projection stopped", "error", err)
		h.progress.stop(err)
		<-ctx.Done()
		return ctx.Err()
	case errors.Is(err, ledger.ErrClosed):
		h.progress.stop(err)
		return err
	}
	h.log.Warn("the history projection repeats a transaction", "error", err)
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// catchUp folds everything that the ledger holds by now.
func (h *history) catchUp(ctx context.Context) error {
	answered := time.Now()
	for head := h.store.Head(); h.at.position < head; head = h.store.Head() {
		switch err := h.advance(ctx, head); {
		case err == nil:
			h.away.back()
			answered = time.Now()
		case time.Since(answered) > startPatience || !h.away.wait(ctx, err):
			return err
		}
	}
	return nil
}

// advance folds one transaction of records up to the limit.
func (h *history) advance(ctx context.Context, limit domain.Position) error {
	records, err := h.read(ctx, limit)
	if err == nil && len(records) == 0 && h.at.position < limit {
		err = fmt.Errorf("the ledger goes to position %d and shows no record behind %d", limit, h.at.position)
	}
	if err != nil || len(records) == 0 {
		return err
	}
	start := time.Now()
	rows, err := h.commit(context.WithoutCancel(ctx), records)
	var bad *foldError
	if errors.As(err, &bad) {
		// The ones before it are sound, and stay.
		for i, r := range records {
			if r.ID == bad.record && i > 0 {
				if _, err := h.commit(context.WithoutCancel(ctx), records[:i]); err != nil {
					return h.db.broken(err)
				}
			}
		}
	}
	if err != nil {
		return h.db.broken(err)
	}
	h.folded += len(records)
	h.metrics.flushed(time.Since(start), rows, len(records))
	return nil
}

func (h *history) read(ctx context.Context, limit domain.Position) ([]*domain.Record, error) {
	var records []*domain.Record
	bytes := 0
	for r, err := range h.store.ReadAll(ctx, h.at.position) {
		if err != nil {
			return nil, fmt.Errorf("read the ledger behind %d: %w", h.at.position, err)
		}
		if r.Position > limit {
			break
		}
		records = append(records, r)
		if bytes += weight(r); len(records) >= h.size || bytes >= maxBatchBytes {
			break
		}
	}
	return records, nil
}

// weight is about what a record holds in memory.
func weight(r *domain.Record) int {
	const envelope = 500
	switch f := r.Fact.(type) {
	case *domain.EventReceived:
		return envelope + f.Size
	case *domain.ResponseReceived:
		if f.Content != nil {
			return envelope + len(f.Content.Ciphertext)
		}
	case *domain.EventRouted:
		return envelope + 150*len(f.Matches)
	case *domain.ReplayPageScheduled:
		return envelope + 600*len(f.Pairs) // with their rows and their events'
	}
	return envelope
}

// commit folds the records in one transaction and returns the number of rows that it wrote.
func (h *history) commit(ctx context.Context, records []*domain.Record) (rows int, err error) {
	if err := h.w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil {
			h.orders = nil
			err = errors.Join(err, h.w.rollback(ctx))
		}
	}()
	if err := h.loadOrders(ctx); err != nil {
		return 0, err
	}
	b := newBatch(h.orders)
	b.carry(&h.open)
	if err := b.load(ctx, h.db.write, records); err != nil {
		return 0, err
	}
	for _, r := range records {
		if err := b.fold(r); err != nil {
			return 0, &foldError{projection: nameHistory, record: r.ID, err: err}
		}
		if b.removed != nil {
			n, err := h.removeEndpoint(ctx, b)
			if err != nil {
				return 0, err
			}
			rows += n
		}
		if b.reordered != nil {
			n, err := h.reorderEndpoint(ctx, b)
			if err != nil {
				return 0, err
			}
			rows += n
		}
	}
	n, err := h.w.write(ctx, b)
	if err != nil {
		return 0, err
	}
	if err := h.w.writeCheckpoint(ctx, b.last); err != nil {
		return 0, err
	}
	if err := h.w.exec(ctx, "COMMIT"); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	h.at, h.open = b.last, b.inFlight()
	if h.flushed != nil {
		h.flushed(h.at.position)
	}
	h.progress.reached(h.at.position, h.at.at)
	return rows + n, nil
}

func (h *history) removeEndpoint(ctx context.Context, b *batch) (int, error) {
	r := b.removed
	b.removed = nil
	n, err := h.w.write(ctx, b)
	if err != nil {
		return 0, err
	}
	if err := h.w.endRemoved(ctx, r); err != nil {
		return 0, err
	}
	b.end(r)
	return n, nil
}

func failedRecord(err error) string {
	var bad *foldError
	if errors.As(err, &bad) {
		return bad.record.String()
	}
	return ""
}
