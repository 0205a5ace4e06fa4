package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hookledger/domain"
	"hookledger/ledger"
)

// damage is what can happen to a file.
type damage struct {
	name string
	do   func(rng *rand.Rand, b []byte) []byte
}

var damages = []damage{
	{"a flipped bit", func(rng *rand.Rand, b []byte) []byte {
		if len(b) > 0 {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
		return b
	}},
	{"a flipped bit near the end", func(rng *rand.Rand, b []byte) []byte {
		if n := min(len(b), 64); n > 0 {
			b[len(b)-1-rng.IntN(n)] ^= 1 << rng.IntN(8)
		}
		return b
	}},
	{"cut off", func(rng *rand.Rand, b []byte) []byte { return b[:rng.IntN(len(b)+1)] }},
	{"cut off by a little", func(rng *rand.Rand, b []byte) []byte { return b[:max(0, len(b)-1-rng.IntN(16))] }},
	{"emptied", func(_ *rand.Rand, b []byte) []byte { return b[:0] }},
	{"a page of zeros", func(rng *rand.Rand, b []byte) []byte {
		at := rng.IntN(len(b)/4096+1) * 4096
		clear(b[at:min(at+4096, len(b))])
		return b
	}},
	{"a page of another place", func(rng *rand.Rand, b []byte) []byte {
		from, to := rng.IntN(len(b)/4096+1)*4096, rng.IntN(len(b)/4096+1)*4096
		copy(b[to:], b[from:min(from+4096, len(b))])
		return b
	}},
}

// disk is a store's directory with the journal of what is in it.
type disk struct {
	fs    *vfs.MemFS
	files []string
	j     *journal
}

// newDisk lets a workload make a store; it is closed, or loses power at the end.
func newDisk(t *testing.T, rng *rand.Rand, closed bool) disk {
	t.Helper()
	d := disk{fs: vfs.NewCrashableMem(), j: newJournal()}
	w := workload{lives: 2, writers: 2, appends: 24, payload: 3000, config: smallConfig(d.fs)}
	if err := w.run(t, rng, d.j); err != nil {
		t.Fatal(err)
	}
	if !closed {
		s := open(t, w.config)
		if err := w.write(t, s, rng, d.j); err != nil {
			t.Fatal(err)
		}
		d.fs = d.fs.CrashClone(vfs.CrashCloneCfg{})
	}
	for _, dir := range []string{w.config.Dir, w.config.Dir + "/" + engineDir} {
		names, err := d.fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if name != engineDir && name != lockFile {
				d.files = append(d.files, dir+"/"+name)
			}
		}
	}
	return d
}

// damaged gives the disk once more, with one file changed.
func (d disk) damaged(t *testing.T, file string, do func([]byte) []byte) (fs *vfs.MemFS, changed bool) {
	t.Helper()
	fs = d.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	before := content(t, fs, file)
	after := do([]byte(before))
	f, err := fs.Create(file, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(after)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return fs, string(after) != before
}

func content(t *testing.T, fs vfs.FS, file string) string {
	t.Helper()
	f, err := fs.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// serve opens a damaged disk and reads everything. The store may refuse (reported), or serve what is right; anything
// else is a mismatch.
func (d disk) serve(t *testing.T, fs vfs.FS, acks []ack) (reported, mismatch error) {
	t.Helper()
	s, err := Open(smallConfig(fs))
	if err != nil {
		return err, nil
	}
	defer func() { _ = s.Close() }() // may report the damage once more
	if err := d.j.verify(t, s, acks); errors.As(err, &wrong{}) {
		return nil, err
	} else if err != nil {
		return err, nil
	}
	// A damaged index must not let a stream begin anew.
	for i := 0; i < len(acks); i += 5 {
		on := acks[i].stream
		_, err := s.Append(t.Context(), on, domain.NoStream, records(on, 1))
		switch {
		case err == nil:
			return nil, fmt.Errorf("%s has begun anew", on)
		case !errors.Is(err, ledger.ErrConflict):
			return err, nil
		}
	}
	return nil, nil
}

// TestDamage damages each file of a store that was closed, in many ways: the store reports it, or serves exactly what
// was appended.
func TestDamage(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	d := newDisk(t, rng, true)
	turns := 2
	if long() {
		turns = 100
	}
	reports, total := 0, 0
	for i, file := range d.files {
		for k, how := range damages {
			if (i+k)%thin != 0 {
				continue
			}
			for range turns {
				fs, changed := d.damaged(t, file, func(b []byte) []byte { return how.do(rng, b) })
				if !changed {
					continue
				}
				total++
				reported, mismatch := d.serve(t, fs, d.j.answers())
				if mismatch != nil {
					t.Errorf("%s in %s: %v", how.name, file, mismatch)
				}
				if reported != nil {
					reports++
				}
			}
		}
	}
	t.Logf("%d damages to %d files, %d reported", total, len(d.files), reports)
	if reports == 0 {
		t.Error("no damage was ever reported")
	}
}

// TestMissingFiles removes each file of a store, and puts each in the place of another.
func TestMissingFiles(t *testing.T) {
	t.Parallel()
	d := newDisk(t, seeded(t), true)
	for i, file := range d.files {
		fs, _ := d.damaged(t, file, func(b []byte) []byte { return b })
		if err := fs.Remove(file); err != nil {
			t.Fatal(err)
		}
		if _, mismatch := d.serve(t, fs, d.j.answers()); mismatch != nil {
			t.Errorf("%s missing: %v", file, mismatch)
		}
		other := d.files[(i+1)%len(d.files)]
		fs, _ = d.damaged(t, file, func([]byte) []byte { return []byte(content(t, d.fs, other)) })
		if _, mismatch := d.serve(t, fs, d.j.answers()); mismatch != nil {
			t.Errorf("%s in the place of %s: %v", other, file, mismatch)
		}
	}
}

// TestDamageAfterCrash damages a store that was not closed. The end of Pebble's log can't be told then from one that
// was being written: appends can be missing there. What is served is right all the same.
func TestDamageAfterCrash(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	d := newDisk(t, rng, false)
	for i, file := range d.files {
		for k, how := range damages {
			if (i+k)%thin != 0 {
				continue
			}
			fs, _ := d.damaged(t, file, func(b []byte) []byte { return how.do(rng, b) })
			if reported, mismatch := d.serve(t, fs, nil); mismatch != nil {
				t.Errorf("%s in %s: %v", how.name, file, mismatch)
			} else if reported != nil && strings.HasSuffix(file, formatFile) && !errorNamesFix(reported) {
				t.Errorf("%s in %s is reported without a fix: %v", how.name, file, reported)
			}
		}
	}
}

func errorNamesFix(err error) bool {
	var refusal *domain.Error
	return errors.As(err, &refusal) && refusal.Fix != ""
}
