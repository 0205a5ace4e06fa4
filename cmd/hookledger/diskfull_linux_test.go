package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a file system of its own for the test.
type smallDisk struct {
	dir     string
	ballast string
}

func mountSmallDisk(t *testing.T, mib int) *smallDisk {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mib)); err != nil {
		t.Skipf("a file system can't be mounted here (%v): run it as root, as CI does", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &smallDisk{dir: dir, ballast: filepath.Join(dir, "ballast")}
}

// fill leaves that many bytes free; 0: none.
func (d *smallDisk) fill(t *testing.T, leave int64) {
	t.Helper()
	f, err := os.OpenFile(d.ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	block := make([]byte, 64<<10)
	for d.free(t) > leave {
		if _, err := f.Write(block[:min(int64(len(block)), max(d.free(t)-leave, 1))]); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return
			}
			t.Fatal(err)
		}
	}
}

func (d *smallDisk) free(t *testing.T) int64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

func (d *smallDisk) empty(t *testing.T) {
	t.Helper()
	if err := os.Remove(d.ballast); err != nil {
		t.Fatal(err)
	}
}

// poster posts one event after the other and notes what was acked.
type poster struct {
	o *oracle
	n int
}

func (p *poster) post(t *testing.T, n *node) (code int, answer string, err error) {
	t.Helper()
	p.n++
	id := fmt.Sprintf("disk-%d", p.n)
	body := fmt.Appendf(nil, `{"id":%q,"event":"cron.completed",`+
		`"data":{"jobId":"j","runId":"r","jobName":%q,"output":%q}}`, id, id, strings.Repeat("x", 8<<10))
	code, text, err := n.call(http.MethodPost, "/v1/events", body)
	if err == nil && code == http.StatusAccepted {
		p.o.acked[id] = true
	}
	return code, string(text), err
}

// until posts until the answer has a code.
func (p *poster) until(t *testing.T, n *node, want int) (answer string) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		code, answer, err := p.post(t, n)
		if err != nil {
			t.Fatalf("%v\n%s", err, n.log)
		}
		if code == want {
			return answer
		}
		if code != http.StatusAccepted && code != http.StatusInsufficientStorage {
			t.Fatalf("a post is answered %d %s", code, answer)
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("no post is answered %d within a minute, the last %d %s", want, code, answer)
		}
	}
}

// TestADiskThatIsFullAndHasRoomAgain: below the low-water mark posts are answered 507 and nothing is lost; with room
// again the same process goes on. Where the disk is full to its last byte, the process ends itself rather than say 202,
// and its next life has everything that was acked.
func TestADiskThatIsFullAndHasRoomAgain(t *testing.T) {
	t.Parallel()
	disk := mountSmallDisk(t, 192)
	o := &oracle{acked: map[string]bool{}, fail: rand.New(rand.NewPCG(1, 1))}
	recv := &foulReceiver{reached: make(chan struct{})}
	recv.listen(t, o, nil)
	data, address := filepath.Join(disk.dir, "data"), freeAddress(t)
	const mark = 32 << 20
	n := startNode(t, data, address, fmt.Sprintf("--low-water=%d", mark))
	n.must(http.MethodPost, "/v1/endpoints", map[string]any{"url": "http://" + recv.url + "/",
		"event_types": []string{"*"}, "retry_schedule": strings.Split(strings.Repeat("50ms ", 30)+"50ms", " ")})
	p := &poster{o: o}
	for turn := range 2 {
		p.until(t, n, http.StatusAccepted)
		disk.fill(t, mark/2)
		if answer := p.until(t, n, http.StatusInsufficientStorage); !strings.Contains(answer, `"no_room"`) {
			t.Errorf("turn %d: the refusal is %s", turn, answer)
		}
		n.must(http.MethodGet, "/v1/deliveries", nil) // reads go on
		disk.empty(t)
		p.until(t, n, http.StatusAccepted)
	}
	n.awaitTerminal(t)
	n.stop(t)

	// Without a reserve the end of the disk is met: that is the end of the process.
	n = startNode(t, data, address, "--low-water=1")
	disk.fill(t, 2<<20)
	for code := http.StatusAccepted; code == http.StatusAccepted; {
		var answer string
		var err error
		if code, answer, err = p.post(t, n); err != nil {
			break // it is gone
		}
		if code/100 == 4 || code == http.StatusInternalServerError {
			t.Errorf("on a full disk a post is answered %d %s", code, answer)
		}
	}
	<-n.done
	if code := n.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(n.log.String(), "no space left") {
		t.Errorf("at the end of the disk the process ends with %d:\n%s", code, n.log)
	}
	disk.empty(t)
	n = startNode(t, data, address, fmt.Sprintf("--low-water=%d", mark))
	p.until(t, n, http.StatusAccepted)
	n.awaitTerminal(t)
	o.judge(t, n.records(t))
	n.stop(t)
}
