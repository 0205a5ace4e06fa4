package retire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/pebblestore"
	"hookledger/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house folds one endpoint from the ledger, as the directory does.
type house struct {
	store   ledger.Store
	changed chan struct{}
}

const stream domain.Stream = "endpoint-acme.ep_1"

func (h *house) endpoint(t testing.TB) *domain.Endpoint {
	t.Helper()
	e, _, err := ledger.Load(context.Background(), h.store, stream, newEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (h *house) Retiring() map[domain.EndpointKey][]domain.Retiring {
	e, _, err := ledger.Load(context.Background(), h.store, stream, newEndpoint)
	if err != nil || len(e.Retiring) == 0 {
		return nil
	}
	return map[domain.EndpointKey][]domain.Retiring{{Tenant: "acme", Endpoint: "ep_1"}: e.Retiring}
}

func (h *house) RetiringChanged() <-chan struct{} { return h.changed }

func (h *house) then(t testing.TB, facts []domain.Fact, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	at := h.endpoint(t).Revision
	s := domain.Stamp{At: time.Now(), Base: ulid.Make(), Actor: domain.System("test")}
	if _, err := h.store.Append(context.Background(), stream, at, s.Records(stream, "acme", "", ulid.ULID{},
		facts...)); err != nil {
		t.Fatal(err)
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// shredder is a vault that remembers what was destroyed.
type shredder struct {
	mu   sync.Mutex
	gone map[string]int
	err  error
}

func (s *shredder) Destroy(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if strings.HasPrefix(id, "unknown") {
		return fmt.Errorf("%s: %w", id, vault.ErrUnknownKey)
	}
	s.gone[id]++
	return nil
}

func (s *shredder) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.gone))
}

func newHouse(t testing.TB) *house {
	t.Helper()
	store, err := pebblestore.Open(pebblestore.Config{Dir: "ledger", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &house{store: store, changed: make(chan struct{}, 1)}
	e := h.endpoint(t)
	facts, err := e.Register(domain.EndpointConfig{Kind: "webhook", Scheme: "https", Host: "example.com",
		EventTypes: []string{"*"}, Timeout: domain.Duration(time.Second),
		Headers: []domain.SecretHeader{{Name: "X-Key", Value: domain.VaultRef{KeyID: "cr_1"}}},
		Signing: domain.Signing{Scheme: domain.SchemeV1, KeyID: "sk_1", Fingerprint: "1"}})
	h.then(t, facts, err)
	return h
}

func (h *house) rotate(t testing.TB, id string, overlap time.Duration) {
	t.Helper()
	facts, err := h.endpoint(t).Rotate(domain.Signing{Scheme: domain.SchemeV1, KeyID: id, Fingerprint: id}, overlap,
		time.Now())
	h.then(t, facts, err)
}

func (h *house) retired(t testing.TB) (out []string) {
	t.Helper()
	for r, err := range h.store.ReadStream(context.Background(), stream, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if f, ok := r.Fact.(*domain.EndpointSecretRetired); ok {
			out = append(out, f.Reason+" "+strings.Join(f.Keys, ","))
			if r.Causation.IsZero() || r.Actor != domain.System("retire") {
				t.Errorf("retired by %v, because of %s", r.Actor, r.Causation)
			}
		}
	}
	return out
}

func retirer(t testing.TB, h *house, v Vault) *Retirer {
	t.Helper()
	r, err := New(Config{Store: h.store, Vault: v, Endpoints: h, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSemantics_AReplacedKeyIsDestroyedWhenItsTimeIsOver: not before, once, and by the next life when this one ended in
// between; with a clock that is set by hand.
func TestSemantics_AReplacedKeyIsDestroyedWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	h, v := newHouse(t), &shredder{gone: map[string]int{}}
	h.rotate(t, "sk_2", 24*time.Hour)
	end := h.endpoint(t).Config.Signing.Previous[0].ValidUntil
	for _, step := range []struct {
		before time.Duration // the key's end
		wait   time.Duration
		done   []string
	}{
		{24 * time.Hour, lookAgain, nil},
		{time.Second, time.Second, nil},
		{time.Nanosecond, time.Nanosecond, nil},
		{0, lookAgain, []string{"rotated sk_1"}},
		{-time.Hour, lookAgain, []string{"rotated sk_1"}},
	} {
		r := retirer(t, h, v) // each is another life
		r.cfg.Now = func() time.Time { return end.Add(-step.before) }
		wait, err := r.pass(t.Context())
		if err != nil || wait != step.wait || !slices.Equal(h.retired(t), step.done) || len(v.gone) != len(step.done) {
			t.Errorf("%s before its end: look again in %s, %v, destroyed %v, recorded %v", step.before, wait, err, v.gone,
				h.retired(t))
		}
	}
	if v.gone["sk_1"] != 1 {
		t.Errorf("destroyed %v", v.gone)
	}
	if e := h.endpoint(t); e.Config.Signing.KeyID != "sk_2" || e.Config.Signing.Previous != nil || e.Retiring != nil {
		t.Errorf("the endpoint: %+v", e)
	}
}

// TestRunHearsOfWhatIsDueAtOnce: it waits for no clock where a rotation ends the old key at once.
func TestRunHearsOfWhatIsDueAtOnce(t *testing.T) {
	t.Parallel()
	h, v := newHouse(t), &shredder{gone: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r := retirer(t, h, v)
	go func() { ended <- r.Run(ctx) }()
	h.rotate(t, "sk_2", 0)
	for pos := domain.Position(0); h.retired(t) == nil; {
		if err := h.store.Wait(t.Context(), pos); err != nil {
			t.Fatal(err)
		}
		pos = h.store.Head()
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the run ended with %v", err)
	}
	if got := h.retired(t); !slices.Equal(got, []string{"rotated sk_1"}) {
		t.Errorf("recorded %v", got)
	}
}

// TestARemovedEndpointLeavesNothingInTheVault, one that the vault never knew of included.
func TestARemovedEndpointLeavesNothingInTheVault(t *testing.T) {
	t.Parallel()
	h, v := newHouse(t), &shredder{gone: map[string]int{}}
	h.rotate(t, "unknown_2", time.Hour)
	facts, err := h.endpoint(t).Remove()
	h.then(t, facts, err)
	if _, err := retirer(t, h, v).pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := v.list(); !slices.Equal(got, []string{"cr_1", "sk_1"}) {
		t.Errorf("destroyed %v", got)
	}
	got := h.retired(t)
	if len(got) != 1 || !strings.HasPrefix(got[0], "removed ") || h.Retiring() != nil {
		t.Errorf("recorded %v, left %v", got, h.Retiring())
	}
}

// TestACrashAnywhereLeavesItToTheNextLife: the vault or the ledger fails at each step; the next pass ends it, with one
// record.
func TestACrashAnywhereLeavesItToTheNextLife(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, run := range map[string]func(*house, *shredder, *Retirer){
		"the vault fails": func(_ *house, v *shredder, r *Retirer) {
			v.err = broken
			if _, err := r.pass(t.Context()); !errors.Is(err, broken) {
				t.Errorf("the vault fails: %v", err)
			}
			v.err = nil
		},
		"the disk is nearly full": func(_ *house, _ *shredder, r *Retirer) {
			r.cfg.Room = func() error { return broken }
			if _, err := r.pass(t.Context()); !errors.Is(err, broken) {
				t.Errorf("no room: %v", err)
			}
			r.cfg.Room = func() error { return nil }
		},
		"destroyed, not recorded": func(_ *house, v *shredder, _ *Retirer) {
			if err := v.Destroy(t.Context(), "sk_1"); err != nil {
				t.Error(err)
			}
		},
	} {
		h, v := newHouse(t), &shredder{gone: map[string]int{}}
		h.rotate(t, "sk_2", 0)
		r := retirer(t, h, v)
		run(h, v, r)
		if h.retired(t) != nil {
			t.Fatalf("%s: recorded all the same", name)
		}
		for range 2 {
			if _, err := r.pass(t.Context()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if got := h.retired(t); !slices.Equal(got, []string{"rotated sk_1"}) {
			t.Errorf("%s: then %v", name, got)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a configuration without anything is taken")
	}
}

// TestTwoNodesRecordItOnce: both find the same to do.
func TestTwoNodesRecordItOnce(t *testing.T) {
	t.Parallel()
	h, v := newHouse(t), &shredder{gone: map[string]int{}}
	h.rotate(t, "sk_2", 0)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := retirer(t, h, v).pass(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := h.retired(t); !slices.Equal(got, []string{"rotated sk_1"}) {
		t.Errorf("recorded %v", got)
	}
}
