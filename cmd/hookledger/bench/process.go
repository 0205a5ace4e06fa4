package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child: this binary with another command.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  *tail
	err  error // of Wait; read it when done is closed
}

// stopGrace is how long a child may take to end in order.
const stopGrace = 60 * time.Second

// start runs the binary. The child's environment has no HOOKLEDGER_* of ours but env: it runs with its defaults.
func start(ctx context.Context, binary string, env []string, args ...string) (*process, error) {
	p := &process{name: args[0], done: make(chan struct{}), log: &tail{}}
	p.cmd = exec.CommandContext(ctx, binary, args...)
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopGrace
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "HOOKLEDGER_") {
			p.cmd.Env = append(p.cmd.Env, kv)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop ends the child in order, and kills it when it does not. A child that had ended before has failed.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
		return p.failed()
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may end at this moment
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end within %s:\n%s", p.name, stopGrace, p.log)
	}
	return p.failed()
}

func (p *process) failed() error {
	if p.err == nil || errors.Is(p.err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s", p.name, p.err, p.log)
}

// awaitPort returns when something listens on the address, or the child has ended.
func (p *process) await(ctx context.Context, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for !ready(ctx) {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended at its start: %w\n%s", p.name, p.err, p.log)
		default:
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("%s did not get ready: %w\n%s", p.name, err, p.log)
		}
	}
	return nil
}

// cpuSeconds is the CPU time that a process has used, user and system: fields 14 and 15 of /proc/PID/stat, in ticks of
// 10 ms (proc(5)).
func cpuSeconds(pid int) float64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// peakRSS is the child's largest resident set so far, in MiB.
func (p *process) peakRSS() float64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

// usage is the CPU time of each process by name.
type cpuTimes map[string]float64

func (c cpuTimes) per1000(before cpuTimes, n int) map[string]float64 {
	out := map[string]float64{}
	for name, s := range c {
		out[name] = (s - before[name]) * 1000 / float64(n)
	}
	return out
}

// tail keeps the end of what a child writes.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailSize = 16 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b)
	if over := t.buf.Len() - tailSize; over > 0 {
		t.buf.Next(over)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// freeAddress finds a port that nobody listens on at the moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
