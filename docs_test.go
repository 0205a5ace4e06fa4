package hookledger_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what docs/records.md must say, instead of comparing")

const goldenFiles = "ledger/testdata/golden"

var goldenBlock = regexp.MustCompile("(?s)<!-- golden ([A-Za-z]+\\.v[0-9]+(?:\\.[a-z_]+)?) -->\n```json\n(.*?)```\n")

// TestRecordsPage keeps docs/records.md equal to the golden files: each of them stands there, and nothing else.
func TestRecordsPage(t *testing.T) {
	t.Parallel()
	const page = "docs/records.md"
	golden := goldenRecords(t)
	text := read(t, page)
	shown := map[string]bool{}
	want := goldenBlock.ReplaceAllStringFunc(text, func(block string) string {
		name := goldenBlock.FindStringSubmatch(block)[1]
		shown[name] = true
		example, ok := golden[name]
		if !ok {
			t.Errorf("%s shows %s, which has no golden file", page, name)
		}
		return fmt.Sprintf("<!-- golden %s -->\n```json\n%s```\n", name, example)
	})
	for name := range golden {
		if !shown[name] {
			t.Errorf("%s does not show %s: write what it is, and <!-- golden %s --> before a json block", page, name, name)
		}
	}
	if want == text {
		return
	}
	if !*update {
		t.Fatalf("%s does not say what the golden files say; write it with: make golden", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// goldenRecords gives each golden file's record, indented, by type and version.
func goldenRecords(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	files, err := filepath.Glob(goldenFiles + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		var b bytes.Buffer
		for dec := json.NewDecoder(strings.NewReader(read(t, f))); dec.More(); {
			var part json.RawMessage
			if err := dec.Decode(&part); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			if err := json.Indent(&b, part, "", "  "); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			b.WriteByte('\n')
		}
		out[strings.TrimSuffix(filepath.Base(f), ".json")] = b.String()
	}
	return out
}

var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)(?:/([^`]+))?`")

// TestSemanticsPageNamesTestsThatExist: a decision whose test was renamed or removed is not held by anything.
func TestSemanticsPageNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	existing := map[string]bool{}
	for _, s := range sources(t) {
		if s.test || strings.HasSuffix(s.room, "storetest") {
			for _, d := range s.ast.Decls {
				existing[funcName(d)] = true
			}
		}
	}
	page, suite := read(t, "docs/semantics.md"), read(t, "ledger/storetest/run.go")
	for i, line := range strings.Split(page, "\n") {
		for _, m := range testName.FindAllStringSubmatch(line, -1) {
			if !existing[m[1]] {
				t.Errorf("docs/semantics.md:%d: there is no test %s", i+1, m[1])
			}
			if sub := strings.ReplaceAll(m[2], "_", " "); sub != "" && !strings.Contains(suite, `{"`+sub+`"`) {
				t.Errorf("docs/semantics.md:%d: the stores' suite has no case %q", i+1, sub)
			}
		}
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| decision") && !testName.MatchString(line) {
			t.Errorf("docs/semantics.md:%d: the decision names no test", i+1)
		}
	}
}

var (
	link   = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	fenced = regexp.MustCompile("(?s)```.*?```")
)

// TestLinksInTheDocumentsResolve: every relative link of every page leads to a file.
func TestLinksInTheDocumentsResolve(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir("docs", func(p string, _ fs.DirEntry, err error) error {
		if filepath.Ext(p) == ".md" && !strings.Contains(p, "node_modules") {
			pages = append(pages, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, p), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(p), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", p, m[1], err)
			}
		}
	}
}

// TestTheReceiverInGoBuilds: the receiver of docs/receiving.md is a program.
func TestTheReceiverInGoBuilds(t *testing.T) {
	t.Parallel()
	m := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindStringSubmatch(read(t, "docs/receiving.md"))
	if m == nil {
		t.Fatal("docs/receiving.md holds no program in Go")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(m[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestTheVerifierOfV1aIsTheFile: what docs/receiving.md shows is what `make verify` runs.
func TestTheVerifierOfV1aIsTheFile(t *testing.T) {
	t.Parallel()
	_, code, _ := strings.Cut(read(t, "docs/examples/node/v1a.mjs"), "\n")
	if !strings.Contains(read(t, "docs/receiving.md"), "```js\n"+code+"```\n") {
		t.Error("docs/receiving.md does not show docs/examples/node/v1a.mjs")
	}
}

// TestConfigurationPage: every setting that the binary knows stands on the page, with its default.
func TestConfigurationPage(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), filepath.Join(binaryDir(t), "hookledger"), "config", "show", "-o", "json")
	cmd.Dir, cmd.Env = t.TempDir(), []string{"HOME=" + t.TempDir()}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var settings []struct{ Name, Value string }
	if err := json.Unmarshal(out, &settings); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(settings) < 10 {
		t.Fatalf("only %d settings: %s", len(settings), out)
	}
	page := read(t, "docs/configuration.md")
	for _, s := range settings {
		variable := "`HOOKLEDGER_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_")) + "`"
		rows := regexp.MustCompile("(?m)^\\|.*(`"+s.Name+"`|"+variable+").*$").FindAllString(page, -1)
		if len(rows) == 0 {
			t.Errorf("docs/configuration.md does not name %s", s.Name)
		}
		if s.Value != "" && !strings.Contains(strings.Join(rows, "\n"), "`"+s.Value+"`") {
			t.Errorf("docs/configuration.md does not give %s the default %q: %s", s.Name, s.Value, rows)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
