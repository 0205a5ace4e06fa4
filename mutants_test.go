package hookledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// The mutant gate. Each file of testdata/mutants plants one bug that would break a promise: it names a source file, the
// text in it that keeps the promise, what the bug has in its place, and the tests that must catch it. The bug is laid
// over the source by the go command; the product holds no switch for it. A mutant that no test catches, or whose text
// is gone from the source, fails the gate.
//
//	go test .            checks that each mutant still applies
//	make mutants         runs the tests against each of them
const mutantFiles = "testdata/mutants"

type mutant struct {
	name     string
	promise  string // what it breaks
	pkg, run string // the tests that must catch it
	file     string
	old, new string
}

func mutants(t *testing.T) []mutant {
	t.Helper()
	files, err := filepath.Glob(mutantFiles + "/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var out []mutant
	for _, f := range files {
		a, err := txtar.ParseFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m := mutant{name: strings.TrimSuffix(filepath.Base(f), ".txtar")}
		for line := range strings.Lines(string(a.Comment)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch key {
			case "promise":
				m.promise = value
			case "package":
				m.pkg = value
			case "run":
				m.run = value
			case "file":
				m.file = value
			}
		}
		for _, part := range a.Files {
			switch part.Name {
			case "old":
				m.old = string(part.Data)
			case "new":
				m.new = string(part.Data)
			}
		}
		if m.promise == "" || m.pkg == "" || m.run == "" || m.file == "" || m.old == "" {
			t.Fatalf("%s: it needs the lines promise, package, run and file, and the parts old and new", f)
		}
		out = append(out, m)
	}
	return out
}

// overlay writes the mutated source and the file that tells the go command to use it.
func (m mutant) overlay(t *testing.T) overlaid {
	t.Helper()
	source := read(t, m.file)
	if n := strings.Count(source, m.old); n != 1 {
		t.Fatalf("%s no longer applies: its old text stands %d times in %s", m.name, n, m.file)
	}
	dir := t.TempDir()
	mutated := filepath.Join(dir, "mutated.go")
	if err := os.WriteFile(mutated, []byte(strings.Replace(source, m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlaid{mutated: mutated, list: file}
}

type overlaid struct {
	mutated string // the source with the bug
	list    string // for go's -overlay
}

func TestMutantsApply(t *testing.T) {
	t.Parallel()
	for _, m := range mutants(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			file := m.overlay(t).mutated
			if _, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s is no Go: %v", m.name, err)
			}
		})
	}
}

// TestMutantsAreCaught is the gate itself. That the same tests pass without the bug, go test ./... has said.
func TestMutantsAreCaught(t *testing.T) {
	if os.Getenv("HOOKLEDGER_MUTANTS") == "" {
		t.Skip("HOOKLEDGER_MUTANTS=1 runs the gate: make mutants")
	}
	all := mutants(t)
	if len(all) == 0 {
		t.Fatal("there is no mutant: the gate says nothing")
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			out, err := goTest(t, m.pkg, m.run, "-overlay", m.overlay(t).list)
			var exit *exec.ExitError
			switch {
			case bytes.Contains(out, []byte("no tests to run")):
				t.Errorf("%s has no test %s", m.pkg, m.run)
			case err == nil:
				t.Errorf("not caught: %s (%s -run %s passes with %s)", m.promise, m.pkg, m.run, m.name)
			case !errors.As(err, &exit):
				t.Fatalf("run the tests: %v", err)
			case bytes.Contains(out, []byte("[build failed]")):
				t.Errorf("it does not compile:\n%s", out)
			case bytes.Contains(out, []byte("panic: test timed out")):
				t.Errorf("not caught, but the tests hang: name ones that fail at once")
			default:
				t.Logf("caught %s: %s", firstFailure(out), m.promise)
			}
		})
	}
}

func goTest(t *testing.T, pkg, run string, flags ...string) ([]byte, error) {
	t.Helper()
	args := append([]string{"test", "-count=1", "-failfast", "-timeout=300s", "-run", run}, flags...)
	return exec.CommandContext(t.Context(), "go", append(args, pkg)...).CombinedOutput()
}

// firstFailure names the first test that failed, or the panic.
func firstFailure(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if _, test, ok := strings.Cut(line, "--- FAIL: "); ok {
			return "by " + strings.TrimSpace(test)
		}
		if strings.HasPrefix(line, "panic:") {
			return "by a " + strings.TrimSpace(line)
		}
	}
	return "by no test that has a name"
}
