package pebblestore

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hookledger/domain"
	"hookledger/ledger"
)

// files reads a directory's files.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refuses expects Open to refuse a directory with a code, to name it and the fix, and to leave it as it is.
func refuses(t *testing.T, dir, code string) error {
	t.Helper()
	before := files(t, dir)
	s, err := Open(Config{Dir: dir})
	if err == nil {
		_ = s.Close()
		t.Fatalf("opened, want %s", code)
	}
	if domain.Code(err) != code || !strings.Contains(err.Error(), dir) || !errorNamesFix(err) {
		t.Errorf("refused with %q (%s), want %s, the directory and a fix", err, domain.Code(err), code)
	}
	if !maps.Equal(files(t, dir), before) {
		t.Errorf("a refused directory was changed")
	}
	return err
}

// founded makes a store with some records and closes it.
func founded(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data", "ledger")
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	on := domain.EventStream("default", "1")
	if _, err := s.Append(t.Context(), on, domain.NoStream, records(on, 3)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDirectoryIsPrivate(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(founded(t))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory's mode is %v, %v", info.Mode(), err)
	}
}

func TestRefusedDirectories(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("a newer format", func(t *testing.T) {
		t.Parallel()
		dir := founded(t)
		write(t, filepath.Join(dir, formatFile), "hookledger ledger store\nformat 2\n")
		if err := refuses(t, dir, "newer_format"); !errors.Is(err, ledger.ErrNewerFormat) {
			t.Errorf("refused with %v", err)
		}
	})
	t.Run("another format", func(t *testing.T) {
		t.Parallel()
		dir := founded(t)
		write(t, filepath.Join(dir, formatFile), "something else\n")
		refuses(t, dir, "not_a_ledger")
	})
	t.Run("no format", func(t *testing.T) {
		t.Parallel()
		dir := founded(t)
		if err := os.Remove(filepath.Join(dir, formatFile)); err != nil {
			t.Fatal(err)
		}
		refuses(t, dir, "not_a_ledger")
	})
	t.Run("somebody's files", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		write(t, filepath.Join(dir, "letter.txt"), "dear reader")
		refuses(t, dir, "not_a_ledger")
	})
	t.Run("no mark", func(t *testing.T) {
		t.Parallel()
		dir := founded(t)
		if err := os.Remove(filepath.Join(dir, markFile)); err != nil {
			t.Fatal(err)
		}
		refuses(t, dir, "ledger_damaged")
	})
	t.Run("no engine", func(t *testing.T) {
		t.Parallel()
		dir := founded(t)
		if err := os.RemoveAll(filepath.Join(dir, engineDir)); err != nil {
			t.Fatal(err)
		}
		refuses(t, dir, "ledger_damaged")
	})
	t.Run("a lost end", func(t *testing.T) {
		t.Parallel()
		dir := founded(t)
		m := mark{pos: 9, id: records("event-default.1", 1)[0].ID}
		write(t, filepath.Join(dir, markFile), m.String())
		refuses(t, dir, "ledger_damaged")
	})
	t.Run("a mark that was changed", func(t *testing.T) {
		t.Parallel()
		dir := founded(t)
		file := filepath.Join(dir, markFile)
		text, err := os.ReadFile(file)
		if err != nil || text[1] != ' ' {
			t.Fatalf("the mark is %q, %v", text, err)
		}
		text[0] = '0' // the position at which there is nothing to look for
		write(t, file, string(text))
		refuses(t, dir, "ledger_damaged")
	})
	t.Run("another ledger's mark", func(t *testing.T) {
		t.Parallel()
		dir := founded(t)
		m := mark{pos: 2, id: records("event-default.1", 1)[0].ID}
		write(t, filepath.Join(dir, markFile), m.String())
		refuses(t, dir, "ledger_damaged")
	})
}

// TestSecondProcess opens a store that another process has open.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	const env = "HOOKLEDGER_TEST_OPEN"
	if dir := os.Getenv(env); dir != "" {
		s, err := Open(Config{Dir: dir})
		if err == nil {
			_ = s.Close()
			t.Fatal("opened")
		}
		if domain.Code(err) != "ledger_in_use" || !strings.Contains(err.Error(), dir) || !errorNamesFix(err) {
			t.Fatalf("refused with %v", err)
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "ledger")
	s := open(t, Config{Dir: dir})
	if _, err := Open(Config{Dir: dir}); domain.Code(err) != "ledger_in_use" {
		t.Errorf("in the same process: %v", err)
	}
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSecondProcess$", "-test.v")
	other.Env = append(os.Environ(), env+"="+dir)
	if out, err := other.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestSecondProcess") {
		t.Errorf("in another process: %v\n%s", err, out)
	}
	on := domain.EventStream("default", "1")
	if _, err := s.Append(t.Context(), on, domain.NoStream, records(on, 1)); err != nil {
		t.Errorf("the first one, after that: %v", err)
	}
}

func TestRoom(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	now := at
	s := open(t, Config{Dir: "ledger", FS: fs, LowWater: 100, Now: func() time.Time { return now }})
	free := func(n uint64) {
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: n, TotalBytes: 1000, UsedBytes: 1000 - n})
	}
	if err := s.Room(); err != nil {
		t.Errorf("where nobody knows: %v", err)
	}
	free(99)
	if err := s.Room(); err != nil {
		t.Errorf("an answer stands for a second: %v", err)
	}
	now = now.Add(time.Second)
	err := s.Room()
	var refusal *domain.Error
	if !errors.As(err, &refusal) || refusal.Kind != domain.KindNoRoom || refusal.Code != "no_room" || refusal.Fix == "" {
		t.Errorf("below the mark: %v", err)
	}
	// Each producer is told the refusal; whose disk it is, and what is free there, only the log.
	if said := refusal.Error(); strings.Contains(said, "MiB") || strings.Contains(said, "ledger,") ||
		!strings.Contains(err.Error(), "0 MiB are free in ledger, 0 MiB must be") {
		t.Errorf("said is %q, and logged %q", said, err)
	}
	if got := s.Space(); got != (Space{Free: 99, LowWater: 100, Known: true}) {
		t.Errorf("%+v", got)
	}
	on := domain.EventStream("default", "1")
	if _, err := s.Append(t.Context(), on, domain.NoStream, records(on, 1)); err != nil {
		t.Errorf("an append below the mark: %v", err)
	}
	free(100)
	now = now.Add(time.Second)
	if err := s.Room(); err != nil {
		t.Errorf("above the mark again: %v", err)
	}
	free(1)
	s.disk.filled() // Pebble has met the end of the disk
	if err := s.Room(); domain.Code(err) != "no_room" {
		t.Errorf("on a full disk: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	r := prometheus.NewPedanticRegistry()
	s := open(t, Config{Dir: "ledger", FS: vfs.NewMem(), Metrics: r})
	on := domain.EventStream("default", "1")
	ours := records(on, 2)
	for range 2 {
		if _, err := s.Append(t.Context(), on, domain.NoStream, ours); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(t.Context(), on, domain.NoStream, records(on, 1)); !errors.Is(err, ledger.ErrConflict) {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"hookledger_ledger_append_seconds appended": 1, "hookledger_ledger_append_seconds duplicate": 1,
		"hookledger_ledger_append_seconds conflict": 1, "hookledger_ledger_group_appends": 1,
		"hookledger_ledger_durable_position": 2, "hookledger_ledger_damaged_reads_total": 0,
	}
	if !maps.Equal(got, want) {
		t.Errorf("the metrics are %v, want %v", got, want)
	}
	if _, err := Open(Config{Dir: "other", FS: vfs.NewMem(), Metrics: r}); err == nil {
		t.Error("metrics registered twice")
	}
}

// TestHeadsForget: the committer knows few heads, and asks for the others.
func TestHeadsForget(t *testing.T) {
	t.Parallel()
	s := open(t, Config{Dir: "ledger", FS: vfs.NewMem(), heads: 2})
	var streams []domain.Stream
	for _, id := range strings.Split("abcdefgh", "") {
		streams = append(streams, domain.EventStream("default", id))
	}
	for round := range 4 {
		for _, on := range streams {
			if _, err := s.Append(t.Context(), on, domain.Revision(round)-1, records(on, 1)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Append(t.Context(), on, domain.NoStream, records(on, 1)); !errors.Is(err, ledger.ErrConflict) {
				t.Fatal(err)
			}
		}
	}
	if len(s.heads.byStream) > 2 {
		t.Errorf("%d heads are kept", len(s.heads.byStream))
	}
}

// TestCloseLeavesNothingBehind is not parallel: it counts goroutines.
func TestCloseLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s, err := Open(Config{Dir: "ledger", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	on := domain.EventStream("default", "1")
	if _, err := s.Append(t.Context(), on, domain.NoStream, records(on, 1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}
