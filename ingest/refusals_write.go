package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

const (
	// writeWithin is how long a minute's records may take; what is left waits for the next minute.
	writeWithin = 20 * time.Second
	// lastWrite is how long the end of a process waits for its last ones.
	lastWrite = 5 * time.Second
	// lastTurns is how many minutes ahead the end may write: its own may have a record of an earlier life, or of another
	// node, and there is no next minute to wait for.
	lastTurns = 3
)

// refusalRecord is a record whose append is under way, with what it was made of.
type refusalRecord struct {
	domain.Record
	minute time.Time
	count  *refusalCount
}

// Run writes at the turn of each minute, and once more when ctx ends, whose error it returns. It is the only one who
// writes. An append that fails is repeated the next minute.
func (rs *Refusals) Run(ctx context.Context) error {
	for {
		now := rs.cfg.Now()
		timer := time.NewTimer(now.Truncate(time.Minute).Add(time.Minute).Sub(now))
		select {
		case <-timer.C:
			if err := rs.write(ctx, writeWithin, 0); err != nil && ctx.Err() == nil {
				rs.cfg.Logger.Warn("refused posts are counted and could not be written yet", "error", err)
			}
		case <-ctx.Done():
			timer.Stop()
			// What was refused has happened, whatever ends the process.
			err := rs.write(context.WithoutCancel(ctx), lastWrite, lastTurns)
			if n := len(rs.keys()) + len(rs.waiting); n > 0 {
				rs.cfg.Logger.Error("the last counts of refused posts could not be written, and are lost", "records", n,
					"error", err)
			}
			return ctx.Err()
		}
	}
}

// write appends what was counted; ahead is by how many minutes a record may be later than it is. It gives up at the
// first error that is the ledger's: what is left stays counted.
func (rs *Refusals) write(ctx context.Context, within time.Duration, ahead int) error {
	if err := rs.cfg.Room(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	latest := rs.cfg.Now().UTC().Truncate(time.Minute).Add(time.Duration(ahead) * time.Minute)
	for k, r := range rs.waiting {
		if err := rs.append(ctx, k, r, latest); err != nil {
			return err
		}
	}
	for _, k := range rs.keys() {
		c := rs.take(k)
		r, err := rs.record(ctx, k, c, c.first.Truncate(time.Minute))
		if err != nil {
			rs.putBack(k, c)
			return err
		}
		if err := rs.append(ctx, k, r, latest); err != nil {
			return err
		}
	}
	return nil
}

func (rs *Refusals) keys() []refusalKey {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	out := make([]refusalKey, 0, len(rs.counts))
	for k := range rs.counts {
		out = append(out, k)
	}
	return out
}

func (rs *Refusals) take(k refusalKey) *refusalCount {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	c := rs.counts[k]
	delete(rs.counts, k)
	if k.key != "" {
		if rs.tenants[k.tenant]--; rs.tenants[k.tenant] == 0 {
			delete(rs.tenants, k.tenant)
		}
	}
	return c
}

// putBack adds a count that was not written to what was counted since.
func (rs *Refusals) putBack(k refusalKey, c *refusalCount) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if since := rs.counts[k]; since != nil {
		since.n += c.n
		since.first, since.content, since.subject = c.first, c.content, c.subject
		return
	}
	rs.put(k, c)
}

// append writes a record, or the next free minute's up to the latest; without one the count waits for it. A record
// whose outcome is not known must be repeated as it is.
func (rs *Refusals) append(ctx context.Context, k refusalKey, r *refusalRecord, latest time.Time) error {
	for {
		_, err := ledger.AppendKnown(ctx, rs.cfg.Store, r.Stream, domain.NoStream, []domain.Record{r.Record})
		if !errors.Is(err, ledger.ErrConflict) {
			if err == nil {
				delete(rs.waiting, k)
			} else {
				rs.waiting[k] = r
			}
			return err
		}
		delete(rs.waiting, k)
		if !r.minute.Before(latest) {
			rs.putBack(k, r.count)
			return nil
		}
		next, err := rs.record(ctx, k, r.count, r.minute.Add(time.Minute))
		if err != nil {
			rs.putBack(k, r.count)
			return err
		}
		r = next
	}
}

// record makes a minute's record of a count. Its content is sealed as that of its first post would have been.
func (rs *Refusals) record(ctx context.Context, k refusalKey, c *refusalCount,
	minute time.Time) (*refusalRecord, error) {
	now := rs.cfg.Now().UTC().Truncate(time.Microsecond)
	f := &domain.EventRefused{Reason: k.reason, Count: c.n, Key: k.key, FirstAt: c.first, LastAt: c.last}
	stream := domain.RefusalStream(k.tenant, domain.RefusalID(minute, k.tenant, k.key, k.reason))
	stamp := domain.Stamp{At: now, Base: rs.cfg.NewID(), Actor: domain.System("ingest")}
	kind := c.content.Event
	if kind == "" {
		kind = f.RecordType()
	}
	plain, err := json.Marshal(c.content)
	if err != nil {
		return nil, err
	}
	keyID, err := rs.cfg.Vault.DataKey(ctx, vault.Scope{Tenant: k.tenant, Subject: c.subject, Type: kind, At: c.first})
	if err == nil {
		f.Content, err = rs.cfg.Vault.Seal(ctx, keyID, vault.Place{Tenant: k.tenant, Stream: stream, Record: stamp.Base,
			Type: f.RecordType()}, plain)
	}
	if err != nil {
		return nil, fmt.Errorf("seal a refusal: %w", err)
	}
	return &refusalRecord{Record: stamp.Records(stream, k.tenant, "", ulid.ULID{}, f)[0], minute: minute, count: c}, nil
}
