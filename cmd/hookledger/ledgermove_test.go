package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"hookledger/domain"
	"hookledger/ledger/eventstore/esdbtest"
)

// commandLine runs one command line in this process and gives its exit code and what it wrote.
func commandLine(t *testing.T, env []string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &app{in: strings.NewReader(""), out: &o, err: &e,
		environ: func() []string { return env }})
	return code, o.String(), e.String()
}

// must is commandLine for one that has no reason to fail; its data is JSON.
func must(t *testing.T, env []string, args ...string) map[string]any {
	t.Helper()
	code, out, errs := commandLine(t, env, append(args, "-o", "json")...)
	if code != exitOK {
		t.Fatalf("hookledger %s: exit code %d\n%s", strings.Join(args, " "), code, errs)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return v
}

func clientEnv(s *server) []string {
	return []string{"HOOKLEDGER_SERVER=" + s.URL, "HOOKLEDGER_DATA_DIR=" + s.DataDir}
}

// sendWithout makes a ledger of n events that wait for their delivery to the url, and closes its server again.
func sendWithout(t *testing.T, dir, url string, n int) {
	t.Helper()
	cfg := serverConfig{DataDir: dir, Listen: "127.0.0.1:0", NoDelivery: true}
	cfg.Egress.Dev = true
	s := started(t, cfg)
	env := clientEnv(s)
	must(t, env, "endpoint", "create", "--url", url, "--events", "agent.*")
	for i := range n {
		must(t, env, "event", "send", "--example", "agent.budget_alert", "--id", fmt.Sprintf("evt_%d", i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// inbox counts the requests that it takes, by webhook-id.
type inbox struct {
	url  string
	took chan string
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	in := &inbox{took: make(chan string, 1000)}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		in.took <- r.Header.Get("webhook-id")
	}))
	t.Cleanup(s.Close)
	in.url = s.URL
	return in
}

// TestLedgerCopy_TheServerGoesOnInEventStoreDBAndBack: what waited is delivered from the new place, what is sealed
// opens there, and the way back holds all of it.
func TestLedgerCopy_TheServerGoesOnInEventStoreDBAndBack(t *testing.T) {
	t.Parallel()
	in, dir, node := newInbox(t), t.TempDir(), esdbtest.Start(t)
	old, home, back := filepath.Join(dir, "old"), filepath.Join(dir, "home"), filepath.Join(dir, "back")
	sendWithout(t, old, in.url, 3)
	code, out, errs := commandLine(t, nil, "ledger", "copy", "--from", old, "--to", node.ConnectionString(),
		"--to-data-dir", home)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	secrets(t, old, out+errs)

	cfg := serverConfig{DataDir: home, Listen: "127.0.0.1:0",
		Store: storeConfig{Kind: storeEventstore, Connection: domain.NewSecret(node.ConnectionString())}}
	cfg.Egress.Dev = true
	s := started(t, cfg)
	for range 3 {
		<-in.took
	}
	env := clientEnv(s)
	if got := must(t, env, "event", "get", "evt_1"); !strings.Contains(fmt.Sprint(got["body"]), "agent_atlas") {
		t.Errorf("the event does not open: %v", got)
	}
	must(t, env, "event", "send", "--example", "agent.budget_alert", "--id", "evt_new")
	<-in.took
	// A position of the old place is refused: what it means here, nobody knows.
	if code, _, errs := commandLine(t, env, "record", "list", "--after", "3"); code == exitOK ||
		!strings.Contains(errs, "take the position from a record") {
		t.Errorf("exit code %d\n%s", code, errs)
	}

	// Its server runs: neither end is touched.
	backTo := []string{"ledger", "copy", "--from", node.ConnectionString(), "--from-data-dir", home, "--to", back}
	if errs, err := exec.CommandContext(t.Context(), binary(t), backTo...).CombinedOutput(); err == nil ||
		!strings.Contains(string(errs), "is in use by another process") {
		t.Errorf("under a running server: %v\n%s", err, errs)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	must(t, nil, backTo...)
	there := must(t, nil, "ledger", "info", "--store", "eventstore", "--eventstore", node.ConnectionString())
	if here := must(t, nil, "ledger", "info", "--data-dir", back); here["digest"] != there["digest"] ||
		here["digest"] == nil {
		t.Errorf("there %v, back %v", there, here)
	}
	cfg.DataDir, cfg.Store = back, storeConfig{}
	s = started(t, cfg)
	must(t, clientEnv(s), "event", "send", "--example", "agent.budget_alert", "--id", "evt_back")
	<-in.took
}

// secrets looks for what is secret in a data directory.
func secrets(t *testing.T, dir, text string) {
	t.Helper()
	for _, name := range []string{masterKeyFile, adminKeyFile} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, strings.TrimSpace(string(raw))) {
			t.Errorf("%s was printed", name)
		}
	}
}

// TestLedgerCopy_SurvivesSIGKILL kills the process when an append is committed and not answered, and then the next run
// too, further on; the last run ends with every record once.
func TestLedgerCopy_SurvivesSIGKILL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, home := filepath.Join(dir, "old"), filepath.Join(dir, "home")
	sendWithout(t, old, "http://127.0.0.1:1", 20)
	var committed atomic.Int64
	var process atomic.Pointer[os.Process]
	kill := func(ctx context.Context, _ *esdbtest.Call) error {
		if n := committed.Add(1); n == 5 || n == 9 || n == 15 {
			if err := process.Load().Kill(); err != nil {
				t.Error(err)
			}
			<-ctx.Done() // it never gets the answer
		}
		return nil
	}
	node := esdbtest.Start(t, esdbtest.WithHooks(esdbtest.Hooks{Committed: kill}))
	args := []string{"ledger", "copy", "--from", old, "--to", node.ConnectionString(), "--to-data-dir", home, "-o", "json"}
	for range 3 {
		cmd := exec.CommandContext(t.Context(), binary(t), args...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		process.Store(cmd.Process)
		if err := cmd.Wait(); err == nil {
			t.Fatalf("it was not killed:\n%s", &errs)
		}
		half(t, home, "--from "+old, "--store", "eventstore", "--eventstore", node.ConnectionString())
	}
	// The source is whole: going on with it is nobody's mistake yet.
	if err := started(t, serverConfig{DataDir: old, Listen: "127.0.0.1:0", NoDelivery: true}).Close(); err != nil {
		t.Error(err)
	}
	done := must(t, nil, args...)
	if err := started(t, serverConfig{DataDir: home, Listen: "127.0.0.1:0", NoDelivery: true, Store: storeConfig{
		Kind: storeEventstore, Connection: domain.NewSecret(node.ConnectionString())}}).Close(); err != nil {
		t.Error(err)
	}
	info := must(t, nil, "ledger", "info", "--data-dir", old)
	if done["digest_to"] != info["digest"] || done["records"] != info["records"] || done["records_there_before"] == 0.0 {
		t.Errorf("%v, of %v", done, info)
	}
}

// half says that nothing works on what a copy has not finished, and each names the copy.
func half(t *testing.T, home, names string, store ...string) {
	t.Helper()
	for _, command := range []string{"serve --listen 127.0.0.1:0", "demo --once", "projection rebuild"} {
		args := append(append(strings.Fields(command), "--data-dir", home), store...)
		if code, _, errs := commandLine(t, nil, args...); code != exitFailure ||
			!strings.Contains(errs, "fix:   run it again") || !strings.Contains(errs, names) {
			t.Errorf("%s: exit code %d\n%s", command, code, errs)
		}
	}
}

// TestLedgerCopy_HalfOfOneIsNotServed: in a data directory, from before the first record until all was read back; nor
// is it copied on.
func TestLedgerCopy_HalfOfOneIsNotServed(t *testing.T) {
	t.Parallel()
	dir, node := t.TempDir(), esdbtest.Start(t)
	old, home, back := filepath.Join(dir, "old"), filepath.Join(dir, "home"), filepath.Join(dir, "back")
	sendWithout(t, old, "http://127.0.0.1:1", 3)
	must(t, nil, "ledger", "copy", "--from", old, "--to", node.ConnectionString(), "--to-data-dir", home)
	args := []string{"ledger", "copy", "--from", node.ConnectionString(), "--from-data-dir", home, "--to", back}
	a, _, errs := testApp(nil, "")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	a.err = &interrupting{Writer: errs, at: "copying", interrupt: interrupt}
	if code := run(ctx, args, a); code != exitFailure {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	half(t, back, "--from-data-dir "+home)
	if code, _, errs := commandLine(t, nil, "ledger", "copy", "--from", back, "--to", filepath.Join(dir, "on"),
		"--ledger-only"); code != exitFailure || !strings.Contains(errs, "has not ended") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	must(t, nil, args...)
	if err := started(t, serverConfig{DataDir: back, Listen: "127.0.0.1:0", NoDelivery: true}).Close(); err != nil {
		t.Error(err)
	}
}

// interrupting ends something when it is said.
type interrupting struct {
	io.Writer
	at        string
	interrupt func()
}

func (w *interrupting) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.at) {
		w.interrupt()
	}
	return w.Writer.Write(b)
}

// TestLedgerCopy_ThroughFaults: lost answers, refused appends, broken connections.
func TestLedgerCopy_ThroughFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, back := filepath.Join(dir, "old"), filepath.Join(dir, "back")
	sendWithout(t, old, "http://127.0.0.1:1", 40)
	faults := esdbtest.NewFaults(testSeed(t).Uint64())
	for _, f := range []esdbtest.Fault{esdbtest.CommitThenUnavailable, esdbtest.CommitThenCancel,
		esdbtest.CommitThenAbort, esdbtest.RefuseAppend, esdbtest.CutConnection, esdbtest.DropSubscription} {
		faults.Set(f, esdbtest.Chance(0.05))
	}
	node := esdbtest.Start(t, esdbtest.WithFaults(faults))
	to := must(t, nil, "ledger", "copy", "--from", old, "--to", node.ConnectionString(), "--to-data-dir",
		filepath.Join(dir, "home"))
	must(t, nil, "ledger", "copy", "--from", node.ConnectionString(), "--to", back, "--ledger-only")
	info := must(t, nil, "ledger", "info", "--data-dir", back)
	if to["digest_from"] != info["digest"] {
		t.Errorf("%v, came back as %v (%s)", to, info, faults)
	}
}

// TestLedgerCopy_SaysWhatIsWrong: each refusal names what to do, quotes no password, and changes nothing.
func TestLedgerCopy_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir, node := t.TempDir(), esdbtest.Start(t)
	old, home, conn := filepath.Join(dir, "old"), filepath.Join(dir, "home"), node.ConnectionString()
	sendWithout(t, old, "http://127.0.0.1:1", 1)
	other := filepath.Join(dir, "other")
	sendWithout(t, other, "http://127.0.0.1:1", 1)
	must(t, nil, "ledger", "copy", "--from", old, "--to", conn, "--to-data-dir", home)
	withPassword := strings.Replace(conn, "://", "://someone:canary@", 1)
	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
		says string
	}{
		"another ledger is there": {nil, []string{"--from", other, "--to", withPassword, "--to-data-dir", dir + "/x"},
			exitFailure, "it is the ledger "},
		"another vault is there": {nil, []string{"--from", old, "--to", conn, "--to-data-dir", other}, exitFailure,
			"is another key than the source's"},
		"nobody says where the vault goes": {nil, []string{"--from", old, "--to", withPassword}, exitUsage, "--to-data-dir"},
		"no vault is there to take": {nil, []string{"--from", conn, "--from-data-dir", dir, "--to", dir + "/y"}, exitUsage,
			"there is no vault in"},
		"the same database": {nil, []string{"--from", conn, "--from-data-dir", home, "--to", conn, "--to-data-dir",
			dir + "/z"}, exitUsage, "are the same"},
		"the configured one is not": {nil, []string{"--from", old, "--to", "eventstore", "--to-data-dir", dir + "/z"},
			exitUsage, "HOOKLEDGER_EVENTSTORE"},
		"the configured one, twice": {[]string{"HOOKLEDGER_EVENTSTORE=" + conn}, []string{"--from", "eventstore",
			"--from-data-dir", home, "--to", "eventstore", "--to-data-dir", dir + "/z"}, exitUsage, "are the same"},
	} {
		t.Run(name, func(t *testing.T) { // one after the other: each opens the same source
			code, out, errs := commandLine(t, c.env, append([]string{"ledger", "copy"}, c.args...)...)
			if code != c.code || !strings.Contains(errs, c.says) || out != "" {
				t.Errorf("exit code %d, want %d and %q:\n%s%s", code, c.code, c.says, out, errs)
			}
			if strings.Contains(errs, "canary") {
				t.Errorf("the password is quoted:\n%s", errs)
			}
		})
	}
}

// TestLedgerCopy_Interrupted: Ctrl-C ends it, and says how to go on.
func TestLedgerCopy_Interrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, home := filepath.Join(dir, "old"), filepath.Join(dir, "home")
	sendWithout(t, old, "http://127.0.0.1:1", 10)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var committed atomic.Int64
	node := esdbtest.Start(t, esdbtest.WithHooks(esdbtest.Hooks{Committed: func(context.Context, *esdbtest.Call) error {
		if committed.Add(1) == 4 {
			interrupt()
		}
		return nil
	}}))
	args := []string{"ledger", "copy", "--from", old, "--to", node.ConnectionString(), "--to-data-dir", home}
	a, out, errs := testApp(nil, "")
	if code := run(ctx, args, a); code != exitFailure || out.Len() > 0 ||
		!strings.Contains(errs.String(), "fix:   run the same command again") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if done := must(t, nil, args...); done["digest_from"] != done["digest_to"] || done["records_there_before"] == 0.0 {
		t.Errorf("%v", done)
	}
}

// TestLedgerCopy_AServerWritesToTheSource: what was there is copied, and the next run takes the rest.
func TestLedgerCopy_AServerWritesToTheSource(t *testing.T) {
	t.Parallel()
	dir, from := t.TempDir(), esdbtest.Start(t)
	home := filepath.Join(dir, "home")
	cfg := serverConfig{DataDir: home, Listen: "127.0.0.1:0", NoDelivery: true,
		Store: storeConfig{Kind: storeEventstore, Connection: domain.NewSecret(from.ConnectionString())}}
	s := started(t, cfg)
	var once atomic.Bool
	to := esdbtest.Start(t, esdbtest.WithHooks(esdbtest.Hooks{Committed: func(context.Context, *esdbtest.Call) error {
		if once.CompareAndSwap(false, true) {
			must(t, clientEnv(s), "tenant", "create", "late")
		}
		return nil
	}}))
	// Its data directory is locked, which would be said first: only the records are copied.
	args := []string{"ledger", "copy", "--from", from.ConnectionString(), "--to", to.ConnectionString(), "--ledger-only"}
	if code, out, errs := commandLine(t, nil, args...); code != exitFailure || out != "" ||
		!strings.Contains(errs, "fix:   stop that server") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if done := must(t, nil, args...); done["records_written"] == 0.0 || done["digest_from"] != done["digest_to"] {
		t.Errorf("%v", done)
	}
}

// TestLedgerCopy_IntoTheSameDataDirectory: the vault stays, and the old ledger has to be moved away before a server of
// EventStoreDB starts there.
func TestLedgerCopy_IntoTheSameDataDirectory(t *testing.T) {
	t.Parallel()
	in, dir, node := newInbox(t), filepath.Join(t.TempDir(), "data"), esdbtest.Start(t)
	sendWithout(t, dir, in.url, 2)
	code, out, errs := commandLine(t, nil, "ledger", "copy", "--from", dir, "--to", node.ConnectionString(),
		"--to-data-dir", dir)
	if code != exitOK || !strings.Contains(out, "stays in") || !strings.Contains(errs, "move "+dir+"/ledger away") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	cfg := serverConfig{DataDir: dir, Listen: "127.0.0.1:0",
		Store: storeConfig{Kind: storeEventstore, Connection: domain.NewSecret(node.ConnectionString())}}
	cfg.Egress.Dev = true
	if _, err := startServer(t.Context(), cfg); domain.Code(err) != "ledger_here" {
		t.Errorf("it started beside the old ledger: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, ledgerDir), filepath.Join(t.TempDir(), "kept")); err != nil {
		t.Fatal(err)
	}
	started(t, cfg) // over the read models of the old place, whose positions are not of this one
	for range 2 {
		<-in.took
	}
}
