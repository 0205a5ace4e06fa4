package projections

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// TestWhatSourcesBringIsCounted: by the actor that posted it, whatever the event says of its source; over several
// transactions, and the same after a restart and when it is folded anew.
func TestWhatSourcesBringIsCounted(t *testing.T) {
	t.Parallel()
	l, dir := newFakeLedger(), t.TempDir()
	l.tenant(ten)
	bring := func(tenant, id string, actor domain.Actor) {
		l.pass(time.Minute)
		l.mu.Lock()
		defer l.mu.Unlock()
		stamp := domain.Stamp{At: l.clock, Base: l.newID(), Actor: actor}
		l.write(stamp.Records(domain.EventStream(tenant, id), tenant, "", ulid.ULID{}, &domain.EventReceived{
			Event: "cron.completed", Source: "src_1", Timestamp: start}))
	}
	from := func(id string) domain.Actor { return domain.Actor{Kind: domain.ActorSource, ID: id} }
	check := func(p *Projections, tenant string, want map[string]SourceEvents) {
		t.Helper()
		if err := p.history.catchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := p.SourceEvents(t.Context(), tenant)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v %v, want %v", tenant, got, err, want)
		}
	}
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	p := reopened(t, l, dir)
	bring(ten, "evt_1", from("src_1"))
	bring(ten, "evt_2", domain.Actor{Kind: "key", ID: "key_1"}) // says that it is from src_1
	bring(other, "evt_3", from("src_9"))
	check(p, ten, map[string]SourceEvents{"src_1": {"src_1", 1, at(1)}})
	bring(ten, "evt_4", from("src_1"))
	bring(ten, "evt_5", from("src_2"))
	want := map[string]SourceEvents{"src_1": {"src_1", 2, at(4)}, "src_2": {"src_2", 1, at(5)}}
	check(p, ten, want)
	digest, err := p.Digest(t.Context())
	if err := errors.Join(err, p.Close()); err != nil {
		t.Fatal(err)
	}
	p = reopened(t, l, dir)
	check(p, ten, want)
	check(p, other, map[string]SourceEvents{"src_9": {"src_9", 1, at(3)}})
	check(p, "nobody", map[string]SourceEvents{})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if done, err := Rebuild(t.Context(), Config{Dir: dir, Store: l}); err != nil || done.Digest != digest {
		t.Errorf("folded anew: %+v %v, was %s", done, err, digest)
	}
}
