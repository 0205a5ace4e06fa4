package hookledger_test

import (
	"iter"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	shell       = regexp.MustCompile("(?s)```sh\n(.*?)```")
	placeholder = regexp.MustCompile(`(whsec_|dlv_|evt_|ep_|att_|src_|hlc_)…`)
)

// TestREADME runs every command of the README, in its order, as a newcomer would: what stays in the foreground runs on;
// an id that is written with "…" is the last one of its kind that was printed. Only the ports differ, so that none is
// taken.
func TestREADME(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	ran := 0
	for line := range commands(read(t, "README.md")) {
		r.run(line)
		ran++
	}
	if ran < 10 {
		t.Errorf("the README holds only %d commands", ran)
	}
	r.expect("./hookledger delivery get "+r.last["dlv_"], "succeeded")
	if out := r.receiver.output(); !strings.Contains(out, "order.paid") {
		t.Errorf("the receiver does not show the event:\n%s", out)
	}
	r.expect("./hookledger record list", "RequestSigned")
	r.expect("./hookledger record list", "DeliverySucceeded")
}

// commands are the lines of a page's shell blocks, those that go on behind a backslash as one; comments are none.
func commands(page string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, block := range shell.FindAllStringSubmatch(page, -1) {
			for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !yield(line) {
					return
				}
			}
		}
	}
}

// reader is a newcomer with a terminal.
type reader struct {
	server   string // its URL
	t        *testing.T
	dir      string
	env      []string
	port     string            // in place of 3000
	last     map[string]string // the last id printed of each kind
	receiver *process
}

func newReader(t *testing.T) *reader {
	t.Helper()
	api, dir := freeAddress(t), t.TempDir()
	r := &reader{t: t, dir: dir, server: "http://" + api, last: map[string]string{}}
	_, r.port, _ = net.SplitHostPort(freeAddress(t))
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "HOOKLEDGER_") && !strings.HasPrefix(kv, "XDG_CONFIG_HOME=") {
			r.env = append(r.env, kv)
		}
	}
	r.env = append(r.env, "XDG_CONFIG_HOME="+filepath.Join(dir, ".config"), "HOOKLEDGER_LISTEN="+api,
		"HOOKLEDGER_SERVER="+r.server, "NO_COLOR=1")
	return r
}

// page does each command of a page, in its order; the page holds at least so many.
func (r *reader) page(text string, atLeast int, each func(line string)) {
	r.t.Helper()
	ran := 0
	for line := range commands(text) {
		each(line)
		ran++
	}
	if ran < atLeast {
		r.t.Errorf("the page holds only %d commands", ran)
	}
}

// runQuiet runs a line for whose event nobody waits at the receiver, which prints none.
func (r *reader) runQuiet(line string) {
	r.t.Helper()
	r.run(strings.ReplaceAll(line, "event send", "event  send"))
}

func (r *reader) run(line string) {
	r.t.Helper()
	line = r.filled(line)
	switch {
	case line == "go test ./...": // this is part of it, and CI runs it whole
		if !strings.Contains(read(r.t, ".ci/run"), line) {
			r.t.Errorf(".ci/run does not run %q", line)
		}
	case strings.HasPrefix(line, "go run ./cmd/hookledger demo --story "):
		r.command(".", line)
	case line == "go run ./cmd/hookledger demo": // with --once it ends by itself
		r.command(".", line+" --once")
	case strings.HasPrefix(line, "go build "):
		r.command(".", strings.Replace(line, "-o hookledger", "-o "+filepath.Join(r.dir, "hookledger"), 1))
	case strings.Contains(line, "hookledger serve"):
		start(r.t, r.prepare(r.dir, foreground(line))).await(r.t, "serving")
	case strings.Contains(line, "hookledger receive"):
		r.receiver = start(r.t, r.prepare(r.dir, foreground(line)))
		r.receiver.await(r.t, r.port)
	default:
		r.command(r.dir, line)
		if strings.Contains(line, "event send") {
			r.receiver.await(r.t, "order.paid")
		}
	}
}

// filled puts this run's port and the ids that were printed into a line.
func (r *reader) filled(line string) string {
	r.t.Helper()
	line = strings.ReplaceAll(line, "localhost:3000", "localhost:"+r.port)
	return placeholder.ReplaceAllStringFunc(line, func(p string) string {
		id := r.last[strings.TrimSuffix(p, "…")]
		if id == "" {
			r.t.Fatalf("%s: nothing like %s was printed before", line, p)
		}
		return id
	})
}

// foreground makes the shell become the program, so that what ends the one ends the other.
func foreground(line string) string {
	return strings.Replace(line, "./hookledger", "exec ./hookledger", 1)
}

func (r *reader) prepare(dir, line string) *exec.Cmd {
	cmd := exec.CommandContext(r.t.Context(), "bash", "-euo", "pipefail", "-c", line)
	cmd.Dir, cmd.Env = dir, r.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd
}

func (r *reader) command(dir, line string) string {
	r.t.Helper()
	out, err := r.prepare(dir, line).CombinedOutput()
	if err != nil {
		r.t.Fatalf("$ %s\n%s%v", line, out, err)
	}
	r.t.Logf("$ %s\n%s", line, out)
	for _, prefix := range []string{"whsec_", "dlv_", "evt_", "ep_", "att_", "src_", "hlc_"} {
		if ids := regexp.MustCompile(prefix+`[A-Za-z0-9+/=_-]+`).FindAllString(string(out), -1); ids != nil {
			r.last[prefix] = ids[len(ids)-1]
		}
	}
	return string(out)
}

// expect repeats a command until it shows the text: an outcome is on the ledger a moment after the receiver's answer.
func (r *reader) expect(line, text string) {
	r.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for asked := 0; ; asked++ { // a machine that stands still asks nothing
		out := r.command(r.dir, line)
		if strings.Contains(out, text) {
			return
		}
		if asked == 600 {
			r.t.Fatalf("$ %s\nshows no %q:\n%s", line, text, out)
		}
		<-tick.C
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}
