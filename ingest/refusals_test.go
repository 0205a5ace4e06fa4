package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// refusing are Refusals on a fixture, whose clock a test sets.
type refusing struct {
	*Refusals
	*fixture
	now      time.Time
	registry *prometheus.Registry
}

// metric is the sum of a counter.
func (r *refusing) metric(name string) (sum float64) {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func newRefusing(f *fixture, store ledger.Store) *refusing {
	r := &refusing{fixture: f, now: noon, registry: prometheus.NewRegistry()}
	r.Refusals = NewRefusals(RefusalsConfig{Store: store, Vault: f.vault, Now: func() time.Time { return r.now },
		Metrics: r.registry})
	return r
}

func (r *refusing) refuse(key, reason, body string) {
	r.Count(&Refusal{Tenant: "acme", Key: key, Reason: reason, Detail: "because", Body: []byte(body),
		Post: Post{ID: "id-1", Event: "cron.completed", Subject: "person-4"}})
}

func (r *refusing) flush() {
	r.t.Helper()
	if err := r.write(r.t.Context(), time.Minute, 0); err != nil {
		r.t.Fatal(err)
	}
}

// end is what the end of a process does.
func (r *refusing) end() {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	stop()
	if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
		r.t.Fatal(err)
	}
}

// recorded are all refusals on the ledger, as "key reason count".
func (f *fixture) recorded() []string {
	f.t.Helper()
	var out []string
	for _, r := range f.refusals() {
		e := r.Fact.(*domain.EventRefused)
		out = append(out, fmt.Sprintf("%s %s %d", e.Key, e.Reason, e.Count))
	}
	return out
}

func (f *fixture) refusals() []*domain.Record {
	f.t.Helper()
	var out []*domain.Record
	for r, err := range f.store.ReadAll(f.t.Context(), 0) {
		if err != nil {
			f.t.Fatal(err)
		}
		if r.Stream.Category() == domain.CategoryRefusal {
			out = append(out, r)
		}
	}
	return out
}

func (f *fixture) recordedAre(want ...string) {
	f.t.Helper()
	if got := f.recorded(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		f.t.Errorf("recorded:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAFloodOfRefusalsIsOneRecordAMinuteKeyAndReason(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := newRefusing(f, f.store)
	r.refuse("key_1", "schema_mismatch", `{"first":1}`)
	for range 9999 {
		r.refuse("key_1", "schema_mismatch", `{"later":1}`)
	}
	r.now = noon.Add(40 * time.Second)
	r.refuse("key_1", "schema_mismatch", `{"later":1}`)
	f.recordedAre() // nothing is written before its time
	r.flush()
	f.recordedAre("key_1 schema_mismatch 10001")

	rec := f.refusals()[0]
	got := rec.Fact.(*domain.EventRefused)
	if !got.FirstAt.Equal(noon.Truncate(time.Microsecond)) || !got.LastAt.Equal(r.now.Truncate(time.Microsecond)) ||
		rec.Tenant != "acme" || rec.Actor != domain.System("ingest") {
		t.Errorf("%+v %+v", rec, got)
	}
	plain, err := f.vault.Open(t.Context(), vault.PlaceOf(rec), got.Content)
	if err != nil {
		t.Fatal(err)
	}
	var content domain.RefusalContent
	if err := json.Unmarshal(plain, &content); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(`{"first":1}`))
	if want := (domain.RefusalContent{Detail: "because", Event: "cron.completed", ID: "id-1", Size: 11,
		SHA256: hex.EncodeToString(sum[:])}); content != want {
		t.Errorf("%+v", content)
	}
	if text := fmt.Sprintf("%+v %s", got, rec.Stream); strings.Contains(text, content.SHA256) {
		t.Error("the digest stands outside the seal")
	}
	// It is about a person: with the person's key it is gone.
	if err := f.vault.Destroy(t.Context(), got.Content.KeyID); err != nil {
		t.Fatal(err)
	}
	if _, err := f.vault.Open(t.Context(), vault.PlaceOf(rec), got.Content); !errors.Is(err, vault.ErrErased) {
		t.Errorf("after the erasure: %v", err)
	}
	r.now = noon.Add(time.Minute)
	r.flush()
	f.recordedAre("key_1 schema_mismatch 10001") // a minute without any makes no record
}

// A process that ends and begins again within a minute, and another node: never two records of one minute.
func TestNoMinuteGetsASecondRecord(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := newRefusing(f, f.store)
	first.refuse("key_1", "invalid_json", "{")
	first.end()
	f.recordedAre("key_1 invalid_json 1")

	second := newRefusing(f, f.store)
	second.refuse("key_1", "invalid_json", "{")
	second.refuse("key_2", "invalid_json", "{")
	second.flush()
	f.recordedAre("key_1 invalid_json 1", "key_2 invalid_json 1")
	second.refuse("key_1", "invalid_json", "{")
	second.now = noon.Add(time.Minute)
	second.flush()
	f.recordedAre("key_1 invalid_json 1", "key_2 invalid_json 1", "key_1 invalid_json 2")

	// At its end a process has no minute to wait for: it takes one ahead.
	third := newRefusing(f, f.store)
	third.now = second.now
	third.refuse("key_1", "invalid_json", "{")
	third.end()
	f.recordedAre("key_1 invalid_json 1", "key_2 invalid_json 1", "key_1 invalid_json 2", "key_1 invalid_json 1")
	streams := map[domain.Stream]bool{}
	for _, r := range f.refusals() {
		streams[r.Stream] = true
	}
	if len(streams) != 4 {
		t.Errorf("%v", streams)
	}
}

// Each append fails once, or fails but persists: what is written in the end counts each refusal once.
func TestFailedAppendsOfRefusalsAreRepeated(t *testing.T) {
	t.Parallel()
	for _, persists := range []bool{false, true} {
		f := newFixture(t)
		failing := true
		store := &scripted{Store: f.store, append: func(ctx context.Context,
			through func() (ledger.Appended, error)) (ledger.Appended, error) {
			if !failing {
				return through()
			}
			if persists {
				if _, err := through(); err != nil {
					t.Error(err)
				}
			}
			return ledger.Appended{}, ledger.ErrUnavailable
		}}
		r := newRefusing(f, store)
		r.refuse("key_1", "invalid_json", "{")
		if err := r.write(t.Context(), time.Minute, 0); !errors.Is(err, ledger.ErrUnavailable) {
			t.Fatal(err)
		}
		r.refuse("key_1", "invalid_json", "{") // is counted while the first waits
		failing = false
		r.now = noon.Add(time.Minute)
		r.flush()
		f.recordedAre("key_1 invalid_json 1", "key_1 invalid_json 1")
	}
}

func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := newRefusing(f, f.store)
	for i := range 3 * MaxTenantRefusals {
		r.refuse(fmt.Sprintf("key_%03d", i), "invalid_json", "{")
	}
	if n := len(r.keys()); n != MaxTenantRefusals+1 {
		t.Errorf("%d keys are held", n)
	}
	r.flush()
	several := 0
	for _, rec := range f.refusals() {
		if e := rec.Fact.(*domain.EventRefused); e.Key == "" {
			several += e.Count
		}
	}
	if several != 2*MaxTenantRefusals {
		t.Errorf("%d are counted of several keys", several)
	}
	for i := range 2 * maxRefusals {
		r.Count(&Refusal{Tenant: fmt.Sprintf("t%d", i), Key: "key_1", Reason: "invalid_json"})
	}
	if n := len(r.keys()); n != maxRefusals {
		t.Errorf("%d keys are held", n)
	}
	if lost := r.metric("hookledger_refusals_unrecorded_total"); lost != maxRefusals {
		t.Errorf("%v are counted as without a record", lost)
	}
	if all := r.metric("hookledger_refusals_total"); all != 3*MaxTenantRefusals+2*maxRefusals {
		t.Errorf("%v are counted", all)
	}
}

func TestRefusalsWaitForRoom(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := newRefusing(f, f.store)
	full := domain.Refuse(domain.KindNoRoom, "no_room", "the disk is nearly full", "make room")
	r.cfg.Room = func() error { return full }
	r.refuse("key_1", "invalid_json", "{")
	if err := r.write(t.Context(), time.Minute, 0); !errors.Is(err, full) {
		t.Fatal(err)
	}
	f.recordedAre()
	r.cfg.Room = func() error { return nil }
	r.flush()
	f.recordedAre("key_1 invalid_json 1")
}

// What a crash loses is what was counted since the last minute, and nothing that was written before.
func TestACrashLosesTheMinuteThatWasNotWritten(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	f := openOn(t, mem)
	r := newRefusing(f, f.store)
	r.refuse("key_1", "invalid_json", "{")
	r.flush()
	r.refuse("key_1", "invalid_json", "{")
	after := openOn(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	after.recordedAre("key_1 invalid_json 1")
}

// kept is a store that keeps what is appended, without a goroutine of its own.
type kept struct {
	ledger.Store
	mu      sync.Mutex
	records []domain.Record
}

func (k *kept) Append(_ context.Context, _ domain.Stream, _ domain.Revision,
	records []domain.Record) (ledger.Appended, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records = append(k.records, records...)
	return ledger.Appended{}, nil
}

// plain is a vault that seals nothing.
type plain struct{}

func (plain) DataKey(context.Context, vault.Scope) (string, error) { return "dk_1", nil }

func (plain) Seal(_ context.Context, keyID string, _ vault.Place, b []byte) (*domain.Sealed, error) {
	return &domain.Sealed{KeyID: keyID, Ciphertext: b}, nil
}

func TestRunWritesEachMinuteAndAtItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &kept{}
		r := NewRefusals(RefusalsConfig{Store: store, Vault: plain{}})
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- r.Run(ctx) }()
		refused := &Refusal{Tenant: "acme", Key: "key_1", Reason: "invalid_json"}
		for range 3 {
			r.Count(refused)
			<-time.After(time.Minute)
			synctest.Wait()
		}
		r.Count(refused)
		if n := len(store.records); n != 3 {
			t.Errorf("%d records after three minutes", n)
		}
		stop()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if n := len(store.records); n != 4 {
			t.Errorf("%d records at the end", n)
		}
	})
}
