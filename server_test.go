package hookledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// buildBinary builds hookledger once for all tests of this package and gives its folder, which goes into PATH.
var buildBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hookledger-house-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "hookledger"), "./cmd/hookledger")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built.Load() {
		if dir, err := buildBinary(); err == nil {
			_ = os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}

var built atomic.Bool // a test has asked for the binary

func binaryDir(t *testing.T) string {
	t.Helper()
	built.Store(true)
	dir, err := buildBinary()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// process is a program that runs until the test ends.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex // guards out
	out  bytes.Buffer
	more chan struct{} // a signal that out has grown
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		select {
		case p.more <- struct{}{}:
		default:
		}
	}()
	return p.out.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// start runs the command; it is interrupted, and then killed, when the test ends.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, done: make(chan struct{}), more: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-p.done:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-p.done
		}
	})
	return p
}

// await waits until the program has printed what the pattern matches, and gives the match.
func (p *process) await(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for asked := 0; asked < 1200; { // a machine that stands still asks nothing
		if m := re.FindStringSubmatch(p.output()); m != nil {
			return m
		}
		select {
		case <-p.more:
		case <-p.done:
			if m := re.FindStringSubmatch(p.output()); m != nil {
				return m
			}
			t.Fatalf("it ended without printing %q:\n%s", pattern, p.output())
		case <-tick.C:
			asked++
		}
	}
	t.Fatalf("it has not printed %q:\n%s", pattern, p.output())
	return nil
}

// api is a running server.
type api struct {
	url, key string
	dir      string // its data
	process  *process
	t        *testing.T
}

// serve starts `hookledger serve --dev` on a free port with a data directory of its own.
func serve(t *testing.T) *api {
	t.Helper()
	a := serveWith(t, nil)
	key, err := os.ReadFile(filepath.Join(a.dir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	a.key = strings.TrimSpace(string(key))
	return a
}

// serveWith is serve with more in its environment and more flags; the key is the caller's matter.
func serveWith(t *testing.T, env []string, flags ...string) *api {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(filepath.Join(binaryDir(t), "hookledger"),
		append([]string{"serve", "--dev", "--data-dir", dir, "--listen", "127.0.0.1:0"}, flags...)...)
	cmd.Env = append(os.Environ(), env...)
	p := start(t, cmd)
	return &api{url: p.await(t, `(http://127\.0\.0\.1:[0-9]+)`)[1], dir: dir, process: p, t: t}
}

// call expects a 2xx and decodes the answer.
func (a *api) call(method, path string, body, answer any) {
	a.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	text := a.do(method, path, raw)
	if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			a.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
}

// text gives an answer as it is.
func (a *api) text(path string) []byte {
	a.t.Helper()
	return a.do(http.MethodGet, path, nil)
}

func (a *api) do(method, path string, body []byte) []byte {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("Hookledger-Tenant", "default")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		a.t.Fatal(err)
	}
	if resp.StatusCode/100 != 2 {
		a.t.Fatalf("%s %s: %s\n%s", method, path, resp.Status, text)
	}
	return text
}
