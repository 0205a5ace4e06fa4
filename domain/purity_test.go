package domain_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pureImports is all that this package may know. None of them does I/O, reads a clock or draws a random number, but for
// the functions in impure.
var pureImports = []string{
	"cmp", "crypto/ed25519", "crypto/hmac", "crypto/sha256", "embed", "encoding/base64", "encoding/binary",
	"encoding/hex", "encoding/json", "errors", "fmt", "maps", "math", "net/url", "slices", "strconv", "strings", "time",
	"github.com/oklog/ulid/v2",
}

var impure = map[string][]string{
	"time":    {"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer", "LoadLocation"},
	"ed25519": {"GenerateKey"},
	"fmt":     {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
	"ulid":    {"Make", "Now", "MustNewDefault", "DefaultEntropy", "MustNew", "New", "Monotonic"},
}

// impurities lists what makes a file impure.
func impurities(f *ast.File) []string {
	var out []string
	names := map[string]string{} // of imports, to the package's own name
	for _, i := range f.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		if !slices.Contains(pureImports, path) {
			out = append(out, "imports "+path)
		}
		own := strings.TrimSuffix(path, "/v2")
		own = own[strings.LastIndex(own, "/")+1:]
		if i.Name == nil {
			names[own] = own
			continue
		}
		names[i.Name.Name] = own
		if i.Name.Name == "." {
			out = append(out, "imports the names of "+path)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			out = append(out, "starts a goroutine")
		case *ast.ChanType:
			out = append(out, "has a channel")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && slices.Contains(impure[names[x.Name]], n.Sel.Name) {
				out = append(out, "uses "+names[x.Name]+"."+n.Sel.Name)
			}
		case *ast.CallExpr:
			if x, ok := n.Fun.(*ast.Ident); ok && (x.Name == "print" || x.Name == "println") {
				out = append(out, "prints")
			}
		}
		return true
	})
	return out
}

func TestDomainIsPure(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range impurities(f) {
			t.Errorf("%s %s", path, what)
		}
	}
}

// The test above is worth what it finds.
func TestDomainIsPure_FindsWhatIsNot(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`import "os"`:                                            "imports os",
		`import "net"`:                                           "imports net",
		`import "context"`:                                       "imports context",
		`import "sync/atomic"`:                                   "imports sync/atomic",
		`import "math/rand/v2"`:                                  "imports math/rand/v2",
		`import "crypto/rand"`:                                   "imports crypto/rand",
		`import "log/slog"`:                                      "imports log/slog",
		`import . "time"`:                                        "imports the names of time",
		`import "time"; var x = time.Now()`:                      "uses time.Now",
		`import t "time"; func f() { _ = t.Since }`:              "uses time.Since",
		`import "fmt"; func f() { fmt.Println() }`:               "uses fmt.Println",
		`import "github.com/oklog/ulid/v2"; var x = ulid.Make()`: "uses ulid.Make",
		`func f() { go f() }`:                                    "starts a goroutine",
		`var c chan int`:                                         "has a channel",
		`func f() { println() }`:                                 "prints",
		`import "time"; var x time.Time; var y = x.After`:        "",
		`import "net/url"; var x url.URL`:                        "",
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(impurities(f), ", "); got != want {
			t.Errorf("%s: found %q, want %q", src, got, want)
		}
	}
}
