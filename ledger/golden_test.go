package ledger

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"hookledger/domain"
)

var update = flag.Bool("update", false, "write the golden files that are missing; one that exists is never touched")

// A golden file is one record: {"header":…, "body":…} with both parts as they stand on the ledger.
type golden struct {
	Header json.RawMessage `json:"header"`
	Body   json.RawMessage `json:"body"`
}

func goldenPath(name string, version int) string {
	return filepath.Join("testdata", "golden", fmt.Sprintf("%s.v%d.json", name, version))
}

// addedPath is where a record with fields that were added to its version stands: TYPE.vN.NAME.json.
func addedPath(a addedField) string {
	return filepath.Join("testdata", "golden",
		fmt.Sprintf("%s.v%d.%s.json", a.fact.RecordType(), a.fact.RecordVersion(), a.name))
}

// TestGolden_OldRecordsLoadForEver holds every version of every type that a ledger can hold against its file.
func TestGolden_OldRecordsLoadForEver(t *testing.T) {
	if *update {
		writeMissingGolden(t)
	}
	t.Parallel()
	for name, known := range types {
		for version, row := range known {
			t.Run(fmt.Sprintf("%s.v%d", name, version), func(t *testing.T) {
				t.Parallel()
				holds(t, goldenPath(name, version), name, row)
			})
		}
	}
	for _, a := range addedFields() {
		name := a.fact.RecordType()
		t.Run(filepath.Base(addedPath(a)), func(t *testing.T) {
			t.Parallel()
			holds(t, addedPath(a), name, types[name][a.fact.RecordVersion()])
		})
	}
}

// holds reads a golden file's record, and writes it to the same bytes.
func holds(t *testing.T, path, name string, row *recordType) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: write it with go test ./ledger -run Golden -update, and never edit it again", err)
	}
	var g golden
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	rec, err := Decode(g.Header, g.Body)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Fact.RecordType() != name {
		t.Fatalf("decoded a %s", rec.Fact.RecordType())
	}
	if row.encode == nil {
		return // an older version is only read
	}
	if got := AppendHeader(nil, rec); string(got) != string(g.Header) {
		t.Errorf("header\n got %s\nwant %s", got, g.Header)
	}
	got, err := AppendBody(nil, rec)
	if err != nil || string(got) != string(g.Body) {
		t.Errorf("body (%v)\n got %s\nwant %s", err, got, g.Body)
	}
}

// TestGolden_NothingIsLeftOver finds files of types that are no longer read: their records would not load.
func TestGolden_NothingIsLeftOver(t *testing.T) {
	t.Parallel()
	want := map[string]bool{}
	for name, known := range types {
		for version := range known {
			want[filepath.Base(goldenPath(name, version))] = true
		}
	}
	for _, a := range addedFields() {
		want[filepath.Base(addedPath(a))] = true
	}
	entries, err := os.ReadDir(filepath.Join("testdata", "golden"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !want[e.Name()] {
			t.Errorf("%s has no row in the table of types: its records can no longer be read", e.Name())
		}
	}
}

func writeMissingGolden(t *testing.T) {
	t.Helper()
	missing := map[string]domain.Fact{}
	for _, f := range samples() {
		missing[goldenPath(f.RecordType(), f.RecordVersion())] = f
	}
	for _, a := range addedFields() {
		missing[addedPath(a)] = a.fact
	}
	for path, f := range missing {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		header, body := encode(t, sampleRecord(f))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("{\"header\":%s,\n\"body\":%s}\n", header, body)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func encode(t testing.TB, r *domain.Record) (header, body []byte) {
	t.Helper()
	body, err := AppendBody(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	return AppendHeader(nil, r), body
}
