package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/vault"
)

// glassVault seals nothing, and knows which keys are destroyed.
type glassVault struct {
	mu   sync.Mutex
	gone []string
}

func (v *glassVault) Open(_ context.Context, _ vault.Place, s *domain.Sealed) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if slices.Contains(v.gone, s.KeyID) {
		return nil, vault.ErrErased
	}
	if bytes.Equal(s.Ciphertext, []byte("tampered")) {
		return nil, vault.ErrTampered
	}
	return s.Ciphertext, nil
}

func (v *glassVault) Erasures() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return uint64(len(v.gone))
}

func (v *glassVault) Tombstones(context.Context) ([]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.gone), nil
}

func (v *glassVault) destroy(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gone = append(v.gone, key)
}

// says posts an event whose data is the JSON, sealed under the key.
func (l *fakeLedger) says(tenant, id, key, data string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	plain := []byte(data)
	if data != "tampered" {
		plain = []byte(`{"sha256":"","body":{"id":"x","event":"a.b","data":` + data + `}}`)
	}
	stamp := domain.Stamp{At: l.clock, Base: l.newID()}
	l.write(stamp.Records(domain.EventStream(tenant, id), tenant, id, ulid.ULID{}, &domain.EventReceived{ID: id,
		Event: "a.b", Timestamp: l.clock, Content: &domain.Sealed{KeyID: key, Ciphertext: plain}}, &domain.EventRouted{}))
}

func (l *fakeLedger) wantsText(tenant string, on bool) {
	l.append(domain.TenantStream(tenant), tenant, "",
		&domain.TenantReconfigured{Settings: domain.TenantSettings{TextSearch: on}})
}

// searching is a TextSearch that runs, beside the projections that tell it who wants it.
type searching struct {
	*TextSearch
	t    *testing.T
	l    *fakeLedger
	p    *Projections
	keys *glassVault
	dir  string
	stop func()
}

func newSearching(t *testing.T, l *fakeLedger, keys *glassVault, dir string, slice int) *searching {
	t.Helper()
	p := l.opened(t, func(c *Config) { c.FlushEvery = time.Millisecond })
	running(t, p)
	s := &searching{t: t, l: l, p: p, keys: keys, dir: dir}
	s.TextSearch = NewTextSearch(TextConfig{Dir: dir, Store: l, Directory: p.Directory(), Vault: keys, Now: l.now,
		Every: time.Millisecond, Slice: slice})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// find searches once the directory holds what is on the ledger.
func (s *searching) find(tenant, text string) []string {
	s.t.Helper()
	if err := s.p.Directory().WaitFor(s.t.Context(), s.l.Head()); err != nil {
		s.t.Fatal(err)
	}
	got, err := s.FindText(s.t.Context(), tenant, text, Span{})
	if err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	return got
}

func (s *searching) finds(tenant, text string, want ...string) {
	s.t.Helper()
	if got := s.find(tenant, text); !slices.Equal(got, want) {
		s.t.Errorf("%q finds %v, want %v", text, got, want)
	}
}

func TestTextFindsWords(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	for _, tenant := range []string{ten, other} {
		l.tenant(tenant)
		l.wantsText(tenant, true)
	}
	s := newSearching(t, l, &glassVault{}, t.TempDir(), 3)
	for i, data := range []string{
		`{"error":"No space left: disk full","host":"db-1"}`,
		`{"error":"the disk","state":"full"}`,
		`{"lines":["disk\nfull","Größe ÉTÉ"],"n":4711.5}`,
		`{"quoted":"say \"disk full\"","deep":{"er":["time-out after 30s"]}}`,
	} {
		l.pass(time.Second)
		l.says(ten, fmt.Sprint("evt_", i), "dk_1", data)
		l.says(other, fmt.Sprint("evt_other_", i), "dk_2", `{"secret":"of another tenant"}`)
	}
	for text, want := range map[string]string{
		"disk full":        "evt_3 evt_2 evt_1 evt_0",
		`"disk full"`:      "evt_3 evt_2 evt_0",
		"DISK space":       "evt_0",
		"grosse":           "",
		"große":            "evt_2", // as if without the dots
		"größe été":        "evt_2",
		"grösse":           "",
		"Grö*":             "evt_2",
		"4711":             "evt_2",
		"time-out":         "evt_3",
		"error host":       "evt_0",
		`"time out" after`: "evt_3",
		"full AND disk":    "",
		`host:`:            "evt_0",
		"another tenant":   "",
		"of* OR NEAR(":     "",
		`"disk fu`:         "",
	} {
		if got := strings.Join(s.find(ten, text), " "); got != want {
			t.Errorf("%q finds %q, want %q", text, got, want)
		}
	}
	span := Span{After: start.Add(time.Second + time.Microsecond), Before: start.Add(3*time.Second + time.Microsecond)}
	if got, err := s.FindText(t.Context(), ten, "full", span); err != nil || strings.Join(got, " ") != "evt_2 evt_1" {
		t.Errorf("within a time: %v %v", got, err)
	}
	for _, text := range []string{"", `"`, "--", strings.Repeat("a ", 17)} {
		if _, err := s.FindText(t.Context(), ten, text, Span{}); domain.Code(err) != "invalid_text" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestATenantThatComesLaterGetsItsPast, while the others go on; one that leaves leaves no file.
func TestATenantThatComesLaterGetsItsPast(t *testing.T) {
	t.Parallel()
	l, dir := newFakeLedger(), t.TempDir()
	l.tenant(ten)
	l.tenant(other)
	l.wantsText(ten, true)
	s := newSearching(t, l, &glassVault{}, dir, 2)
	for i := range 20 {
		l.says(ten, fmt.Sprint("evt_", i), "dk_1", `{"a":"past"}`)
		l.says(other, fmt.Sprint("evt_o", i), "dk_1", `{"a":"past"}`)
	}
	if n := len(s.find(ten, "past")); n != 20 {
		t.Errorf("%d are found", n)
	}
	_, err := s.FindText(t.Context(), other, "past", Span{})
	var refusal *domain.Error
	if !errors.As(err, &refusal) || refusal.Code != "text_search_off" || !strings.Contains(refusal.Fix, "--text-search") {
		t.Errorf("switched off: %v", err)
	}
	l.wantsText(other, true)
	l.says(other, "evt_new", "dk_1", `{"a":"past and present"}`)
	if n := len(s.find(other, "past")); n != 21 {
		t.Errorf("%d are found of the one who came later", n)
	}
	if names := s.Status(); len(names) != 2 || names[0].Name != "text-search/default" || names[0].Position != l.Head() {
		t.Errorf("%+v", names)
	}
	l.wantsText(other, false)
	s.finds(ten, "present") // a round has ended since
	if err := s.p.Directory().WaitFor(t.Context(), l.Head()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FindText(t.Context(), other, "past", Span{}); domain.Code(err) != "text_search_off" {
		t.Errorf("switched off again: %v", err)
	}
	s.await(func() bool {
		files, err := textFiles(filepath.Join(dir, TextDir))
		return err == nil && len(files) == 1
	})
}

// await waits, round by round, for what a round does.
func (s *searching) await(done func() bool) {
	s.t.Helper()
	for {
		s.mu.Lock()
		turned := s.turned
		s.mu.Unlock()
		if done() {
			return
		}
		select {
		case <-turned:
		case <-s.t.Context().Done():
			s.t.Fatal("it does not come")
		}
	}
}

// TestWhatIsErasedLeavesTheIndex: no search finds it once the key is destroyed, no byte of it stays in the file, and an
// index that is made anew does not get it again.
func TestWhatIsErasedLeavesTheIndex(t *testing.T) {
	t.Parallel()
	l, dir, keys := newFakeLedger(), t.TempDir(), &glassVault{}
	l.tenant(ten)
	l.wantsText(ten, true)
	s := newSearching(t, l, keys, dir, 0)
	for i := range 50 {
		l.says(ten, fmt.Sprint("evt_gone_", i), "dk_person", fmt.Sprintf(`{"note":"xylophone%d of a person"}`, i))
		l.says(ten, fmt.Sprint("evt_kept_", i), "dk_month", `{"note":"saxophone of nobody"}`)
	}
	if n := len(s.find(ten, "xylophone*")); n != 50 {
		t.Fatalf("%d are found", n)
	}
	keys.destroy("dk_person")
	s.finds(ten, "xylophone*")
	if n := len(s.find(ten, "saxophone")); n != 50 {
		t.Errorf("%d of the others are found", n)
	}
	s.stop()
	s.holdNothing(dir, "xylophone")

	if dropped, err := DropTextSearch(dir); err != nil || !slices.Equal(dropped, []string{ten}) {
		t.Errorf("dropped %v, %v", dropped, err)
	}
	again := newSearching(t, l, keys, dir, 0)
	again.finds(ten, "xylophone*")
	if n := len(again.find(ten, "saxophone")); n != 50 {
		t.Errorf("%d of the others are found in the new index", n)
	}
	again.stop()
	again.holdNothing(dir, "xylophone")
}

func (s *searching) holdNothing(dir, word string) {
	s.t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, TextDir))
	if err != nil || len(entries) == 0 {
		s.t.Fatal(entries, err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, TextDir, e.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(word)) {
			s.t.Errorf("%s still holds %s", e.Name(), word)
		}
	}
}

// TestAnErasureWhileNobodyLooked, before the index is opened again, is followed all the same.
func TestAnErasureWhileNobodyLooked(t *testing.T) {
	t.Parallel()
	l, dir, keys := newFakeLedger(), t.TempDir(), &glassVault{}
	l.tenant(ten)
	l.wantsText(ten, true)
	l.says(ten, "evt_1", "dk_person", `{"note":"xylophone"}`)
	s := newSearching(t, l, keys, dir, 0)
	s.finds(ten, "xylophone", "evt_1")
	s.stop()
	keys.destroy("dk_person")
	again := newSearching(t, l, keys, dir, 0)
	again.finds(ten, "xylophone")
	again.stop()
	again.holdNothing(dir, "xylophone")
}

// TestAnIndexGoesOnWhereItWas, and one that is damaged, or of another ledger, is made anew.
func TestAnIndexGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	l, dir := newFakeLedger(), t.TempDir()
	l.tenant(ten)
	l.wantsText(ten, true)
	l.says(ten, "evt_1", "dk_1", `{"a":"one"}`)
	s := newSearching(t, l, &glassVault{}, dir, 0)
	s.finds(ten, "one", "evt_1")
	s.stop()
	path := filepath.Join(dir, TextDir, ten+textSuffix)

	f, err := openTextFile(t.Context(), path)
	if err != nil || f.at.position != l.Head() {
		t.Fatalf("it stands at %+v of %d: %v", f.at, l.Head(), err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	l.says(ten, "evt_2", "dk_1", `{"a":"two"}`)
	s = newSearching(t, l, &glassVault{}, dir, 0)
	s.finds(ten, "one", "evt_1")
	s.finds(ten, "two", "evt_2")
	s.stop()

	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	s = newSearching(t, l, &glassVault{}, dir, 0)
	s.finds(ten, "two", "evt_2")
	s.stop()

	elsewhere := newFakeLedger()
	elsewhere.tenant(ten)
	elsewhere.wantsText(ten, true)
	elsewhere.says(ten, "evt_else", "dk_1", `{"a":"elsewhere"}`)
	s = newSearching(t, elsewhere, &glassVault{}, dir, 0)
	s.finds(ten, "two")
	s.finds(ten, "elsewhere", "evt_else")
}

// TestTextStopsAndNeverSkips: what can't be opened stops the tenant's index, which says so, and no other's.
func TestTextStopsAndNeverSkips(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	for _, tenant := range []string{ten, other} {
		l.tenant(tenant)
		l.wantsText(tenant, true)
	}
	l.says(ten, "evt_1", "dk_1", `{"a":"one"}`)
	l.says(ten, "evt_2", "dk_1", "tampered")
	l.says(other, "evt_3", "dk_1", `{"a":"one"}`)
	s := newSearching(t, l, &glassVault{}, t.TempDir(), 0)
	s.finds(other, "one", "evt_3")
	if err := s.p.Directory().WaitFor(t.Context(), l.Head()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FindText(t.Context(), ten, "one", Span{}); !errors.Is(err, vault.ErrTampered) {
		t.Errorf("%v", err)
	}
	if st := s.Status(); st[0].Err == nil || st[0].Record == "" || st[1].Err != nil {
		t.Errorf("%+v", st)
	}
}

func TestAnIndexThatIsBehindSaysSo(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.wantsText(ten, true)
	p := l.opened(t, nil)
	s := NewTextSearch(TextConfig{Dir: t.TempDir(), Store: l, Directory: p.Directory(), Vault: &glassVault{}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.FindText(ctx, ten, "one", Span{}); domain.Code(err) != "text_index_behind" {
		t.Errorf("%v", err)
	}
}

// TestListsOfWhatASearchFound look each event up by an index.
func TestListsOfWhatASearchFound(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.endpoint(ten, ep2)
	for i := range 6 {
		l.pass(time.Second)
		l.event(ten, fmt.Sprint("evt_", i), "agent.status_changed", ep1, ep2)
		l.deliver(l.order[len(l.order)-1])
	}
	p := l.opened(t, nil)
	w := Where{Events: []string{"evt_1", "evt_4", "evt_none"}}
	list := List{Tenant: ten, Count: true, Limit: 3}
	events, err := p.Events(t.Context(), EventFilter{List: list, Where: w})
	if err != nil || len(events.Rows) != 2 || events.Rows[0].ID != "evt_4" || events.Total.Rows != 2 {
		t.Errorf("%+v %v", events, err)
	}
	events, err = p.Events(t.Context(), EventFilter{List: list, Where: w, ByTimestamp: true, Type: "agent.*"})
	if err != nil || len(events.Rows) != 2 || events.Rows[0].ID != "evt_4" {
		t.Errorf("%+v %v", events, err)
	}
	deliveries, err := p.Deliveries(t.Context(), DeliveryFilter{List: list, Where: w})
	if err != nil || len(deliveries.Rows) != 3 || !deliveries.HasMore || deliveries.Total.Rows != 4 {
		t.Errorf("%+v %v", deliveries, err)
	}
	deliveries, err = p.Deliveries(t.Context(), DeliveryFilter{List: list, Where: w, EndpointID: ep2})
	if err != nil || len(deliveries.Rows) != 2 || deliveries.Rows[1].EventID != "evt_1" {
		t.Errorf("%+v %v", deliveries, err)
	}
	attempts, err := p.Attempts(t.Context(), AttemptFilter{List: list, Where: w})
	if err != nil || len(attempts.Rows) != 2 || attempts.Rows[0].EventID != "evt_4" {
		t.Errorf("%+v %v", attempts, err)
	}
	none, err := p.Attempts(t.Context(), AttemptFilter{List: list, Where: Where{Events: []string{}}})
	if err != nil || len(none.Rows) != 0 {
		t.Errorf("%+v %v", none, err)
	}
}
