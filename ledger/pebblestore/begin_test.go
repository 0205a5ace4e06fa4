package pebblestore

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
)

// largestTable gives the table that holds the most.
func (d disk) largestTable(t *testing.T) (file string, size int) {
	t.Helper()
	for _, f := range d.files {
		if n := len(content(t, d.fs, f)); strings.HasSuffix(f, ".sst") && n > size {
			file, size = f, n
		}
	}
	if size == 0 {
		t.Fatal("there is no table")
	}
	return file, size
}

func mustBeDamaged(t *testing.T, err error) {
	t.Helper()
	if domain.Code(err) != codeDamaged || !errorNamesFix(err) || strings.Count(err.Error(), "restore a backup") != 1 ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want one refusal in one line with the code %s", err, codeDamaged)
	}
}

// TestDamageOfTheBeginning overwrites a page in each place of the largest table: among the first records that is
// refused at the start, in one line that names the fix, and nothing is changed.
func TestDamageOfTheBeginning(t *testing.T) {
	t.Parallel()
	d := newDisk(t, seeded(t), true)
	file, size := d.largestTable(t)
	refused := 0
	for at := 0; at+4096 < size; at += 20 << 10 {
		fs, _ := d.damaged(t, file, func(b []byte) []byte {
			copy(b[at:at+4096], bytes.Repeat([]byte{0xa5}, 4096))
			return b
		})
		before := filesOf(t, fs)
		s, err := Open(smallConfig(fs))
		if err == nil {
			t.Errorf("damage at %d of %d is not seen", at, size)
			_ = s.Close() // may report the damage
			continue
		}
		refused++
		mustBeDamaged(t, err)
		if after := filesOf(t, fs); !slices.Equal(after, before) {
			t.Errorf("the refusal has changed the files: %s, were %s", after, before)
		}
	}
	t.Logf("%d damages refused", refused)
}

// TestDamageWhileOpen overwrites every table of an open store: the readers say what to do.
func TestDamageWhileOpen(t *testing.T) {
	t.Parallel()
	d := newDisk(t, seeded(t), true)
	s, err := Open(smallConfig(d.fs))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }() // may report the damage once more
	for _, file := range d.files {
		if !strings.HasSuffix(file, ".sst") {
			continue
		}
		bad := bytes.Repeat([]byte{0xa5}, len(content(t, d.fs, file)))
		f, err := d.fs.OpenReadWrite(file, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.WriteAt(bad, 0)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	reported := 0
	for _, err := range s.ReadAll(t.Context(), 0) {
		if err != nil {
			reported++
			mustBeDamaged(t, err)
		}
	}
	for _, err := range s.ReadStream(t.Context(), d.j.answers()[0].stream, 0) {
		if err != nil {
			reported++
			mustBeDamaged(t, err)
		}
	}
	if reported != 2 {
		t.Errorf("%d reports, want one of each reader", reported)
	}
}

func filesOf(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List(smallConfig(fs).Dir + "/" + engineDir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}
