package eventstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/domain"
)

// dialer makes connections.
type dialer struct {
	conf     *esdb.Configuration
	deadline time.Duration // of one call
	// left counts clients whose connecting nobody waits for any more; each is closed when it has ended.
	left sync.WaitGroup
}

// settle waits for what was left behind, at most so long: a client that looks for a node can't be stopped.
func (d *dialer) settle(patience time.Duration) {
	settled := make(chan struct{})
	go func() {
		d.left.Wait()
		close(settled)
	}()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-settled:
	case <-t.C:
	}
}

// endless is how often a client in use looks for a node before it gives up. A client that gave up is dead for ever, and
// lets its callers hang.
const endless = 1_000_000_000

// minVersion is the oldest server that was looked at.
var minVersion = esdb.ServerVersion{Major: 23, Minor: 10}

// dial gives a client that is connected, and to which the leader has answered. It first looks for a node once, with a
// client of its own, for one that looks endlessly neither says what is wrong nor can be stopped.
//
// The client forgets to close a connection when a call finds it broken and others come before it is made anew. So one
// gets no calls before a single one was answered: a database that is up and has no leader would otherwise cost a
// connection at each try.
func (d *dialer) dial(ctx context.Context) (*esdb.Client, error) {
	if err := d.reach(ctx); err != nil {
		return nil, err
	}
	client, _, err := d.connect(ctx, endless)
	if err != nil {
		return nil, err
	}
	answered := make(chan struct{})
	go func() {
		err = d.tryRead(ctx, client)
		close(answered)
	}()
	select {
	case <-answered:
	case <-ctx.Done():
		d.left.Go(func() {
			<-answered
			_ = client.Close() // never fails
		})
		return nil, d.diagnose(ctx.Err())
	}
	if err != nil {
		_ = client.Close() // never fails
		return nil, d.diagnose(err)
	}
	return client, nil
}

// tryRead has the leader answer once. A client that is told who leads turns there by itself.
func (d *dialer) tryRead(ctx context.Context, client *esdb.Client) (err error) {
	ctx, cancel := context.WithTimeout(leader(ctx), d.deadline)
	defer cancel()
	for range 3 {
		_, _, err = drain(ctx, client, 1, lastEvent(string(domain.LedgerStream)))
		if fateOf(err) != notLeader {
			break
		}
	}
	if f := fateOf(err); f == absent || f == deleted { // who reads the stream in earnest says so
		return nil
	}
	return err
}

// reach looks for a node once, and asks it for its version. Its errors are diagnosed.
func (d *dialer) reach(ctx context.Context) error {
	client, version, err := d.connect(ctx, 1)
	if err != nil {
		return err
	}
	_ = client.Close() // never fails
	if version.Major < minVersion.Major || version.Major == minVersion.Major && version.Minor < minVersion.Minor {
		return refuse("eventstore_version", fmt.Sprintf("the server %s is EventStoreDB %s, which is too old", d.address(),
			describe(version)), fmt.Sprintf("use %d.%d or newer", minVersion.Major, minVersion.Minor))
	}
	return nil
}

func describe(v *esdb.ServerVersion) string {
	if v.Major == 0 {
		return "from before 21.2"
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// connect makes a client that looks for a node so often. When ctx ends first, the client is closed once it has found
// one.
func (d *dialer) connect(ctx context.Context, attempts int) (*esdb.Client, *esdb.ServerVersion, error) {
	conf := *d.conf
	conf.MaxDiscoverAttempts = attempts
	heard := &heard{log: d.conf.Logger}
	conf.Logger = heard.hear
	if attempts == 1 {
		conf.DiscoveryInterval = 1 // it waits so long after the last attempt, too
	}
	client, err := esdb.NewClient(&conf)
	if err != nil {
		return nil, nil, refuse("eventstore_setting", "the connection string can't be used: "+err.Error(), "write "+example)
	}
	type answer struct {
		version *esdb.ServerVersion
		err     error
	}
	answers := make(chan answer, 1)
	go func() {
		version, err := client.GetServerVersion()
		answers <- answer{version, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			_ = client.Close() // never fails
			return nil, nil, d.diagnoseAll(append(heard.errors(), a.err))
		}
		return client, a.version, nil
	case <-ctx.Done():
		d.left.Go(func() {
			<-answers
			_ = client.Close() // never fails
		})
		return nil, nil, d.diagnose(ctx.Err())
	}
}

// heard keeps the errors that the client only logs: with several nodes it returns the last one's.
type heard struct {
	log esdb.LoggingFunc

	mu   sync.Mutex
	errs []error // guarded by mu
}

// maxHeard is enough for an error or two of each node of a cluster.
const maxHeard = 16

func (h *heard) hear(level esdb.LogLevel, format string, args ...any) {
	h.log(level, format, args...)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range args {
		if err, is := a.(error); is && len(h.errs) < maxHeard {
			h.errs = append(h.errs, err)
		}
	}
}

func (h *heard) errors() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.errs)
}
