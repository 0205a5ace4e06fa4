package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/receiver"
	"hookledger/domain"
	"hookledger/sources/agenfleet/agenfleettest"
)

// The scripts below testdata/script run the commands as a user does, as processes, against a server of this process.

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hookledger": main, "esdb": esdbMain})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup:               scriptSetup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":    scriptCode,
			"take":    scriptTake,
			"settled": scriptSettled,
			"polled":  scriptPolled,
			"json":    scriptJSON,
			"lines":   scriptLines,
		},
	})
}

// scriptSetup gives each script a server of its own, unless its name begins with "offline", and a receiver that takes
// everything.
func scriptSetup(env *testscript.Env) error {
	env.Setenv("HOME", env.WorkDir)
	dir := filepath.Join(env.WorkDir, "data")
	env.Setenv("DATA", dir)
	if strings.HasPrefix(filepath.Base(env.WorkDir), "script-offline") {
		return nil
	}
	cfg := serverConfig{DataDir: dir, Listen: "127.0.0.1:0"}
	cfg.Egress.Dev = true
	s, err := startServer(context.Background(), cfg)
	if err != nil {
		return err
	}
	taker := httptest.NewServer(receiver.New(receiver.Config{}))
	fleet := httptest.NewServer(agenfleettest.New(agenfleettest.Agent{ID: "atlas", Status: "online", TokensInput: 900,
		Daily: 1000, Threshold: 0.8, Cost: "12.50", CostBudget: "10.00"}, agenfleettest.Agent{ID: "nova", Status: "offline"}))
	env.Defer(func() {
		if err := s.Close(); err != nil {
			env.T().Log("close the server:", err)
		}
		taker.Close()
		fleet.Close()
	})
	env.Setenv("HOOKLEDGER_SERVER", s.URL)
	env.Setenv("HOOKLEDGER_DATA_DIR", dir)
	env.Setenv("RECEIVER", taker.URL)
	env.Setenv("FLEET", fleet.URL+agenfleettest.Base)
	return nil
}

// scriptCode is "code N program args...": it runs the program and expects the exit code.
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	default:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("the exit code is %d, not %d", got, want)
	}
}

// scriptTake is "take NAME path.to.0.field": it puts a value of the JSON on stdout into the environment.
func scriptTake(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: take NAME path")
	}
	ts.Setenv(args[0], lookup(ts, args[1]))
}

// scriptJSON is "json path want": it compares a value of the JSON on stdout.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json path want")
	}
	if got := lookup(ts, args[0]); (got == args[1]) == neg {
		ts.Fatalf("%s is %q", args[0], got)
	}
}

func lookup(ts *testscript.TestScript, path string) string {
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		ts.Fatalf("stdout is no JSON: %v", err)
	}
	for key := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(at) {
				ts.Fatalf("%s: there is no element %s of %d", path, key, len(at))
			}
			v = at[i]
		default:
			ts.Fatalf("%s: there is no %s", path, key)
		}
	}
	if s, ok := v.(string); ok {
		return s
	}
	raw, err := json.Marshal(v)
	ts.Check(err)
	return string(raw)
}

// scriptLines is "lines N": it counts the lines on stdout.
func scriptLines(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := strings.Count(ts.ReadFile("stdout"), "\n"); (got == want) == neg {
		ts.Fatalf("stdout has %d lines", got)
	}
}

// scriptSettled is "settled": it waits until no delivery is on its way.
func scriptSettled(ts *testscript.TestScript, _ bool, _ []string) {
	scriptUntil(ts, "deliveries did not end", func(ctx context.Context, c *apiclient.Client) bool {
		open, err := underWay(ctx, c)
		ts.Check(err)
		return open == 0
	})
}

// scriptPolled is "polled N": it waits until there are N events.
func scriptPolled(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	scriptUntil(ts, "the events did not come", func(ctx context.Context, c *apiclient.Client) bool {
		page, err := apiclient.List[apiclient.Event](ctx, c, "/v1/events", nil)
		ts.Check(err)
		return len(page.Data) >= want
	})
}

// scriptUntil asks the server until done says so, for about a minute of questions.
func scriptUntil(ts *testscript.TestScript, otherwise string, done func(context.Context, *apiclient.Client) bool) {
	key, err := os.ReadFile(filepath.Join(ts.Getenv("HOOKLEDGER_DATA_DIR"), adminKeyFile))
	ts.Check(err)
	c, err := apiclient.New(apiclient.Config{Server: ts.Getenv("HOOKLEDGER_SERVER"), Tenant: domain.DefaultTenant,
		Key: domain.NewSecret(strings.TrimSpace(string(key)))})
	ts.Check(err)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for asked := 0; !done(context.Background(), c); asked++ {
		if asked == 6000 {
			ts.Fatalf("%s", otherwise)
		}
		<-tick.C
	}
}

func testApp(env map[string]string, in string) (*app, *bytes.Buffer, *bytes.Buffer) {
	var out, errs bytes.Buffer
	var environ []string
	for k, v := range env {
		environ = append(environ, k+"="+v)
	}
	return &app{in: strings.NewReader(in), out: &out, err: &errs, environ: func() []string { return environ }}, &out, &errs
}

// TestEveryCommandExplainsItself: a short text, and an example with the command's own name.
func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	a, _, _ := testApp(nil, "")
	root := newRoot(a)
	seen := 0
	for _, c := range root.Commands() {
		for _, sub := range append(c.Commands(), c) {
			if sub.Short == "" {
				t.Errorf("%s has no short text", sub.CommandPath())
			}
			if sub.HasSubCommands() || sub.Name() == "help" || sub.Name() == "completion" {
				continue
			}
			seen++
			if want := fmt.Sprintf("hookledger %s", strings.TrimPrefix(sub.CommandPath(),
				"hookledger ")); !strings.Contains(sub.Example, want) {
				t.Errorf("the example of %s does not show it:\n%s", sub.CommandPath(), sub.Example)
			}
		}
	}
	if seen < 35 {
		t.Errorf("only %d commands were looked at", seen)
	}
}
