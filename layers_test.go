package hookledger_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "hookledger"

// rooms says what each package of the module may import of the module, in files that are not tests. A room that stands
// beside another never imports it; only cmd imports a store. docs/architecture.md draws it, .golangci.yml repeats it.
// That domain is pure, its own test keeps.
var rooms = map[string][]string{
	"":                                 {},
	"domain":                           {},
	"ledger":                           {"domain"},
	"ledger/pebblestore":               {"domain", "ledger"},
	"ledger/eventstore":                {"domain", "ledger"},
	"ledger/eventstore/esdbtest":       {},
	"ledger/eventstore/esdbtest/serve": {"ledger/eventstore/esdbtest"},
	"ledger/storetest":                 {"domain", "ledger"},
	"ledger/ledgercopy":                {"domain", "ledger"},
	"vault":                            {"domain"},
	"ingest":                           {"domain", "ledger", "vault"},
	"projections":                      {"domain", "ledger", "vault", "ingest"},
	"delivery/channeltest":             {}, // stand-ins of the services that messages go to, which know nothing of us
	"delivery":                         {"domain", "ledger", "vault", "ingest"},
	"replays":                          {"domain", "ledger", "vault"},
	"retire":                           {"domain", "ledger", "vault"},
	"followups":                        {"domain", "ledger", "vault", "ingest"},
	"audit/reconcile":                  {"domain", "ledger", "vault"},
	"sources/agenfleet":                {"domain", "ledger", "vault", "ingest", "sources/pointer"},
	"sources/agenfleet/agenfleettest":  {}, // a stand-in of AgenFleet's API, which knows nothing of us
	"sources/cron":                     {"domain", "sources/pointer"},
	"sources/pointer":                  {},
	"sources/cloudevents":              {"domain", "ingest"},
	"httpapi": {"domain", "ledger", "vault", "ingest", "projections", "delivery", "replays", "sources/agenfleet",
		"sources/cron", "sources/cloudevents", "audit/reconcile"},
	"cmd/hookledger": {"domain", "ledger", "ledger/pebblestore", "ledger/eventstore", "ledger/storetest",
		"ledger/ledgercopy", "vault", "ingest", "projections", "delivery", "delivery/channeltest", "replays",
		"followups", "retire",
		"sources/agenfleet", "sources/agenfleet/agenfleettest", "sources/cron", "sources/cloudevents", "audit/reconcile",
		"httpapi"},
}

// adapters are the libraries that bind us to something outside, and the only rooms that may import them.
var adapters = map[string][]string{
	"github.com/cockroachdb/pebble/v2":       {"ledger/pebblestore", "vault", "cmd/hookledger"},
	"github.com/EventStore/":                 {"ledger/eventstore"},
	"google.golang.org/grpc":                 {"ledger/eventstore"},
	"modernc.org/sqlite":                     {"projections"},
	"github.com/pressly/goose/v3":            {"projections"},
	"github.com/ThreeDotsLabs/watermill":     {"delivery", "ledger", "cmd/hookledger"},
	"github.com/danielgtaylor/huma/v2":       {"httpapi"},
	"github.com/spf13/cobra":                 {"cmd/hookledger"},
	"code.dny.dev/ssrf":                      {"delivery"},
	"github.com/santhosh-tekuri/jsonschema/": {"ingest"},
	"net/http":                               {"delivery", "sources", "httpapi", "cmd/hookledger"},
	"database/sql":                           {"projections"},
}

type source struct {
	file    string // from the root, with slashes
	room    string // its folder
	test    bool
	pkg     string
	imports []string
	ast     *ast.File
	lines   int
}

// sources parses every Go file of the repository.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n != "." && (strings.HasPrefix(n, ".") || strings.HasPrefix(n, "_") ||
				n == "testdata" || n == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, p, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s := source{file: filepath.ToSlash(p), test: strings.HasSuffix(p, "_test.go"), pkg: f.Name.Name, ast: f,
			lines: strings.Count(string(text), "\n")}
		if s.room = path.Dir(s.file); s.room == "." {
			s.room = ""
		}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, name)
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatalf("read the sources: %v", err)
	}
	return out
}

// top is the room that a folder stands below; the folders below cmd/hookledger import each other.
func top(folder string) string {
	if within(folder, "cmd/hookledger") {
		return "cmd/hookledger"
	}
	return folder
}

// within says whether an import path or a folder is the named one or lies below it.
func within(name, root string) bool {
	root = strings.TrimSuffix(root, "/")
	return name == root || strings.HasPrefix(name, root+"/")
}

func TestLayersPointDownwards(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		allowed, known := rooms[s.room]
		if !known {
			// A folder below a room, such as cmd/hookledger/internal/x, is bound by the room's rule.
			for room := range maps.Keys(rooms) {
				if room != "" && within(s.room, room) && room != "ledger" {
					allowed, known = append(slices.Clone(rooms[room]), room), true
				}
			}
		}
		if !known {
			t.Errorf("%s: the folder %q has no layer: give it one here, in .golangci.yml and in docs/architecture.md",
				s.file, s.room)
			continue
		}
		if s.test {
			continue
		}
		for _, i := range s.imports {
			target, ours := strings.CutPrefix(i, module+"/")
			if !ours {
				continue
			}
			if !slices.Contains(allowed, target) && !within(target, s.room) && !within(target, top(s.room)) {
				t.Errorf("%s imports %s, which does not stand below it: declare a small interface and let cmd join them",
					s.file, i)
			}
		}
	}
}

func TestOnlyTheirRoomImportsAdapters(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, i := range s.imports {
			for lib, where := range adapters {
				if within(i, lib) && !slices.ContainsFunc(where, func(r string) bool { return within(s.room, r) }) {
					t.Errorf("%s imports %s; only %s may", s.file, i, strings.Join(where, ", "))
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	documented, seen := map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test || strings.HasSuffix(s.pkg, "_test") {
			continue
		}
		seen[s.room] = true
		if path.Base(s.file) == "doc.go" && s.ast.Doc != nil && len(s.ast.Doc.Text()) > 80 {
			documented[s.room] = true
			if text := s.ast.Doc.Text(); !strings.Contains(text, "never") {
				t.Errorf("%s does not say what the package must never do", s.file)
			}
		}
	}
	for _, room := range slices.Sorted(maps.Keys(seen)) {
		if !documented[room] {
			t.Errorf("package %q has no doc.go whose comment says what it is for and what it must never do",
				path.Join(module, room))
		}
	}
}

func funcName(d ast.Decl) string {
	if f, ok := d.(*ast.FuncDecl); ok {
		return f.Name.Name
	}
	return ""
}

func TestFilesStaySmall(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.lines > 500 {
			t.Errorf("%s has %d lines; split it before 500 hurt", s.file, s.lines)
		}
	}
}

func TestNoTestSleeps(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && sel.Sel.Name == "Sleep" {
					t.Errorf("%s sleeps: use testing/synctest, an injected clock, or a channel", s.file)
				}
			}
			return true
		})
	}
}
