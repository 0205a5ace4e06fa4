package projections

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hookledger/domain"
)

// written opens projections in dir, writes a little history, and gives its digest.
func written(t *testing.T, l *fakeLedger, dir string) string {
	t.Helper()
	if len(l.records) == 0 {
		l.tenant(ten)
		l.endpoint(ten, ep1)
	}
	l.deliver(l.post(ten, ep1))
	l.fail(l.post(ten, ep1), l.begin(l.order[len(l.order)-1]), domain.CodeDNS)
	p := reopened(t, l, dir)
	digest, err := p.Digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return digest
}

func reopened(t *testing.T, l *fakeLedger, dir string) *Projections {
	t.Helper()
	p, err := Open(t.Context(), Config{Dir: dir, Store: l, Now: l.now})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkReopened opens the rows again and expects them to be the same, and to have been folded anew or not.
func checkReopened(t *testing.T, l *fakeLedger, dir, digest, reason string) {
	t.Helper()
	p := reopened(t, l, dir)
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	got, err := p.Digest(t.Context())
	if err != nil || got != digest {
		t.Errorf("the rows are %s %v, were %s", got, err, digest)
	}
	said := p.Status()[1].Rebuilt
	if (said == "") != (reason == "") || !strings.Contains(said, reason) {
		t.Errorf("rebuilt because %q, want %q", said, reason)
	}
}

// Semantics: a checkpoint is (position, record id). Resuming reads that record; if it is absent or another, the
// projection rebuilds and says so.
func TestSemanticsACheckpointOfAnotherLedgerRebuilds(t *testing.T) {
	t.Parallel()
	l, dir := newFakeLedger(), t.TempDir()
	digest := written(t, l, dir)
	checkReopened(t, l, dir, digest, "")

	other := newFakeLedger()
	other.ids = 1 << 20
	written(t, other, t.TempDir())
	want := written(t, other, t.TempDir())
	checkReopened(t, other, dir, want, "does not stand at position")

	shorter := newFakeLedger()
	shorter.ids = 1 << 30
	shorter.tenant(ten)
	p := reopened(t, shorter, dir)
	if s := p.Status()[1]; s.Rebuilt == "" || s.Position != shorter.Head() {
		t.Errorf("status %+v", s)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestRowsThatCanNotBeTrustedAreFoldedAnew(t *testing.T) {
	t.Parallel()
	file := func(dir, suffix string) string { return filepath.Join(dir, fileName+suffix) }
	overwrite := func(t *testing.T, path string, b []byte, off int64) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt(b, off)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, reason string
		damage       func(t *testing.T, dir string)
	}{
		{"closed well", "", func(*testing.T, string) {}},
		{"no mark", "nothing says how they were closed", func(t *testing.T, dir string) {
			if err := os.Remove(file(dir, ".state")); err != nil {
				t.Fatal(err)
			}
		}},
		{"loss of power", "the machine went down", func(t *testing.T, dir string) {
			if err := os.WriteFile(file(dir, ".state"), []byte("open 00000000-former-boot\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"death of the process", "", func(t *testing.T, dir string) {
			if bootID() == "" {
				t.Skip("this system does not say which boot it is")
			}
			if err := (mark{path: file(dir, ".state")}).set(markOpen); err != nil {
				t.Fatal(err)
			}
		}},
		{"marked", "SQLite found them damaged", func(t *testing.T, dir string) {
			if err := (mark{path: file(dir, ".state")}).set(markDamaged); err != nil {
				t.Fatal(err)
			}
		}},
		{"not a database", "the rows can't be used", func(t *testing.T, dir string) {
			overwrite(t, file(dir, ""), []byte("nonsense instead of a header"), 0)
		}},
		{"newer schema", "newer than this binary's", func(t *testing.T, dir string) {
			alter(t, file(dir, ""), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
		}},
		{"another fold", "folded by version 99", func(t *testing.T, dir string) {
			alter(t, file(dir, ""), "UPDATE checkpoint SET fold = 99")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, dir := newFakeLedger(), t.TempDir()
			digest := written(t, l, dir)
			c.damage(t, dir)
			checkReopened(t, l, dir, digest, c.reason)
			checkReopened(t, l, dir, digest, "")
		})
	}
}

func alter(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", dataSource(path, false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// A page that turns out to be damaged, at the start or while rows are read, leads to rows that are folded anew: at
// once, or at the next start.
func TestDamagedPagesAreNoticedAndTheRowsFoldedAnew(t *testing.T) {
	t.Parallel()
	for _, from := range []int{20, 60, 90} { // per cent of the file
		t.Run(strconv.Itoa(from), func(t *testing.T) {
			t.Parallel()
			l, dir := newFakeLedger(), t.TempDir()
			l.tenant(ten)
			l.endpoint(ten, ep1)
			for range 500 {
				l.deliver(l.post(ten, ep1))
			}
			digest := written(t, l, dir)
			path := filepath.Join(dir, fileName)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := len(raw) * from / 100; i < len(raw); i++ {
				raw[i] = 0xa5
			}
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			p := reopened(t, l, dir)
			if p.rebuilt == "" && !findsDamage(t, l, p) {
				t.Error("the damage was not noticed")
			}
			_ = p.Close() // it may say that the file is damaged
			checkReopenedAny(t, l, dir, digest)
		})
	}
}

// findsDamage reads all there is, by every index.
func findsDamage(t *testing.T, l *fakeLedger, p *Projections) bool {
	t.Helper()
	_, err := p.Digest(t.Context())
	found := errors.Is(err, errDamaged)
	for _, id := range l.order {
		_, err := p.Delivery(t.Context(), ten, id)
		_, err2 := p.Attempts(t.Context(), AttemptFilter{List: List{Tenant: ten}, DeliveryID: id})
		_, err3 := p.EventDeliveries(t.Context(), ten, l.deliveries[id].due.Event)
		found = found || errors.Is(errors.Join(err, err2, err3), errDamaged)
	}
	_, err = p.Attempts(t.Context(), AttemptFilter{List: List{Tenant: ten}, EndpointID: ep1})
	return found || errors.Is(err, errDamaged)
}

func checkReopenedAny(t *testing.T, l *fakeLedger, dir, digest string) {
	t.Helper()
	p := reopened(t, l, dir)
	got, err := p.Digest(t.Context())
	if err != nil || got != digest {
		t.Errorf("the rows are %s %v, were %s", got, err, digest)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestRebuildReplacesTheRows(t *testing.T) {
	t.Parallel()
	l, dir := newFakeLedger(), t.TempDir()
	digest := written(t, l, dir)
	alter(t, filepath.Join(dir, fileName), "UPDATE deliveries SET status = 'exhausted'")
	done, err := Rebuild(t.Context(), Config{Dir: dir, Store: l})
	if err != nil || done.Digest != digest || done.Position != l.Head() {
		t.Fatalf("%+v %v, want %s", done, err, digest)
	}
	checkReopened(t, l, dir, digest, "")
	left, err := filepath.Glob(filepath.Join(dir, "*.new*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
	// It is as good for rows that are not there yet, and a record that can't be folded leaves the old ones alone.
	l.append("replay-default.x", ten, "", &domain.Unknown{Type: "ReplayRequested", Version: 1, Data: []byte("{}")})
	if _, err := Rebuild(t.Context(), Config{Dir: dir, Store: l}); err == nil {
		t.Error("a record was skipped")
	}
	p := reopened(t, l, dir)
	if got, err := p.Digest(context.Background()); err != nil || got != digest {
		t.Errorf("the old rows are %s %v, were %s", got, err, digest)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
