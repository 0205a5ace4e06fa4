package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
	"hookledger/ledger/eventstore"
	"hookledger/ledger/pebblestore"
)

// elsewhere is a ledger in EventStoreDB, with the data directory that its vault and its read models stand in.
type elsewhere struct {
	nodeStore
	disk  *pebblestore.Disk
	pulse *pulse
	lock  io.Closer
}

// Ready implements nodeStore by the last answer to the pulse: whoever asks for it often asks nobody else.
func (e *elsewhere) Ready(context.Context) error {
	if err := e.Err(); err != nil {
		return err
	}
	return e.pulse.last()
}

// Room implements nodeStore: the server must take events, and the disk here their keys.
func (e *elsewhere) Room() error {
	if err := e.pulse.room(); err != nil {
		return err
	}
	return e.disk.Room()
}

// Space is what the disk of the data directory has free.
func (e *elsewhere) Space() pebblestore.Space { return e.disk.Space() }

func (e *elsewhere) Close() error {
	e.pulse.stop()
	return errors.Join(e.nodeStore.Close(), e.lock.Close())
}

func openEventstore(ctx context.Context, dataDir string, c storeConfig) (nodeStore, error) {
	lock, err := lockHome(dataDir)
	if err != nil {
		return nil, err
	}
	if err := refuseHalf(dataDir, c.Kind); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	store, err := dialEventstore(ctx, c)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &elsewhere{nodeStore: store, disk: newDisk(dataDir, c.LowWater), pulse: startPulse(store), lock: lock}, nil
}

// quietFor is how long nobody is told that a database is waited for.
const quietFor = time.Second

// dialEventstore connects to EventStoreDB; it waits a little for one that is being started, and says so.
func dialEventstore(ctx context.Context, c storeConfig) (nodeStore, error) {
	cfg := eventstore.Config{ConnectionString: c.Connection.Reveal(), Username: c.Username, Password: c.Password,
		Metrics: c.Metrics, Logger: c.Logger}
	if c.Note != nil {
		if user := cfg.Ignored(); user != "" {
			c.Note("the user %s and its password are ignored: with tls=false none is sent", user)
		}
		opened, told := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(told)
			quiet := time.NewTimer(quietFor)
			defer quiet.Stop()
			select {
			case <-quiet.C:
				c.Note("waiting for %s, up to %s", hosts(c.Connection), eventstore.OpenFor)
			case <-opened:
			}
		}()
		defer func() {
			close(opened)
			<-told
		}()
	}
	s, err := eventstore.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// pulse asks a store again and again whether it is there.
type pulse struct {
	ready func(context.Context) error
	end   context.CancelFunc
	done  chan struct{}

	mu    sync.Mutex
	err   error     // guarded by mu: the last answer
	since time.Time // guarded by mu: of the first answer that was an error
}

const (
	pulseEvery  = time.Second
	pulseWithin = 3 * time.Second // for an answer
	// awayAfter is how long a store has been away when it is not waited for any more. A cluster has another leader
	// within a second, mostly; until then appends wait.
	awayAfter = 2 * time.Second
)

func startPulse(store nodeStore) *pulse {
	ctx, cancel := context.WithCancel(context.Background())
	p := &pulse{ready: store.Ready, end: cancel, done: make(chan struct{})}
	go p.run(ctx)
	return p
}

func (p *pulse) run(ctx context.Context) {
	defer close(p.done)
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	for {
		p.ask(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *pulse) ask(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, pulseWithin)
	defer cancel()
	err := p.ready(bounded)
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.err = err; {
	case err == nil:
		p.since = time.Time{}
	case p.since.IsZero():
		p.since = time.Now()
	}
}

func (p *pulse) stop() {
	p.end()
	<-p.done
}

// last is the last answer. Whoever reads it need not be somebody of ours: it names what is wrong, and neither hosts nor
// users.
func (p *pulse) last() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return nil
	}
	code := domain.Code(p.err)
	if code == "" {
		code = "no answer"
	}
	return fmt.Errorf("EventStoreDB is not available (%s): the server's log says more", code)
}

// room refuses what a store that is away can't take; the cause is for the log.
func (p *pulse) room() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil || time.Since(p.since) < awayAfter {
		return nil
	}
	return fmt.Errorf("%w: %w", domain.Refuse(domain.KindUnavailable, "ledger_unavailable",
		"the ledger is not available; nothing was written", "repeat the request in a moment"), p.err)
}

func newDisk(dir string, low uint64) *pebblestore.Disk {
	if low == 0 {
		low = pebblestore.DefaultLowWater
	}
	return pebblestore.NewDisk(vfs.Default, dir, low, now)
}
