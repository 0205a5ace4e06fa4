package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hookledger/domain"
)

// beating is a store that is there or not.
type beating struct {
	nodeStore
	trouble atomic.Pointer[error]
}

func (b *beating) set(err error) { b.trouble.Store(&err) }

func (b *beating) Err() error { return nil }

func (b *beating) Ready(context.Context) error {
	if err := b.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// A store that is away for a moment is waited for; one that stays away takes no events and starts no attempts until it
// is back. What anybody may read of it names neither hosts nor users.
func TestAStoreThatStaysAwayTakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &beating{}
		e := &elsewhere{nodeStore: store, disk: newDisk(t.TempDir(), 1), pulse: startPulse(store)}
		defer e.pulse.stop()
		at := func(when time.Duration, ready, room string) {
			t.Helper()
			<-time.After(when)
			synctest.Wait()
			if code := domain.Code(e.Room()); code != room {
				t.Errorf("room: %v, want code %q", e.Room(), room)
			}
			err := e.Ready(t.Context())
			if got := fmt.Sprint(err); ready == "" && err != nil || !strings.Contains(got, ready) ||
				strings.Contains(got, "db.internal") {
				t.Errorf("ready: %v, want %q", err, ready)
			}
		}
		at(1500*time.Millisecond, "", "")
		store.set(domain.Refuse(domain.KindUnavailable, "eventstore_no_leader", "no node behind db.internal leads", "start"))
		at(time.Second, "eventstore_no_leader", "")
		at(2*time.Second, "eventstore_no_leader", "ledger_unavailable")
		store.set(errors.New("db.internal: something else"))
		at(time.Second, "no answer", "ledger_unavailable")
		store.set(nil)
		at(time.Second, "", "")
	})
}

// Whoever waits for a database hears so, and whoever names a user that is not sent, too; a password nobody hears.
func TestOpeningEventStoreDBSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	r := runInBackground(t, nil, "ledger", "info", "--store", "eventstore", "--eventstore",
		"esdb://someone:canary@127.0.0.1:1?tls=false")
	r.err.await(t, `the user someone and its password are ignored`)
	r.err.await(t, `waiting for esdb://127\.0\.0\.1:1, up to 15s`)
	if code := r.ended(t); code != exitFailure || strings.Contains(r.err.String(), "canary") {
		t.Errorf("exit code %d\n%s", code, r.err)
	}
}
