package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/domain"
)

// The kill loop: the real binary, killed with SIGKILL at random moments under load, started again, and judged by what
// this process, which is never killed, has seen: the acks that it got, and the requests that its receiver got.

// killRounds is how often the server is killed; `make kill` and CI say more.
func killRounds(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("HOOKLEDGER_KILL_ROUNDS"))
	if err != nil || n < 1 {
		n = 5
	}
	t.Logf("%d rounds; HOOKLEDGER_KILL_ROUNDS sets another number", n)
	return n
}

func testSeed(t *testing.T) *rand.Rand {
	seed, err := strconv.ParseUint(os.Getenv("HOOKLEDGER_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("HOOKLEDGER_SEED=%d repeats this run", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// oracle is what the outside knows.
type oracle struct {
	mu        sync.Mutex
	acked     map[string]bool // event id
	received  []wireAttempt
	fail      *rand.Rand
	endpoints []string // those whose registration was answered to the test
}

// wireAttempt is one request that the receiver got.
type wireAttempt struct{ id, timestamp, signature string }

func (o *oracle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	o.mu.Lock()
	o.received = append(o.received, wireAttempt{r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"),
		r.Header.Get("webhook-signature")})
	fail := o.fail.IntN(10) == 0
	o.mu.Unlock()
	if fail {
		w.WriteHeader(http.StatusInternalServerError) // 503 would slow the endpoint down
	}
}

func TestSIGKILLAtRandomMomentsLosesNothing(t *testing.T) {
	t.Parallel()
	k := newKillLoop(t, testSeed(t))
	k.rounds(killRounds(t))
	k.node.awaitTerminal(t)
	k.oracle.judge(t, k.node.records(t))
	k.node.stop(t)
}

// killLoop is a node under load that is killed again and again.
type killLoop struct {
	t       *testing.T
	rng     *rand.Rand
	oracle  *oracle
	dir     string
	address string
	flags   []string // of serve, beside its own
	node    *node
}

func newKillLoop(t *testing.T, rng *rand.Rand, flags ...string) *killLoop {
	t.Helper()
	k := &killLoop{t: t, rng: rng, dir: t.TempDir(), address: freeAddress(t), flags: flags,
		oracle: &oracle{acked: map[string]bool{}, fail: rand.New(rand.NewPCG(rng.Uint64(), 1))}}
	receiver := httptest.NewServer(k.oracle)
	t.Cleanup(receiver.Close)
	k.start()
	for _, types := range []string{"agent.*", "cron.completed", "*"} {
		k.oracle.endpoint(k.node, map[string]any{"url": receiver.URL + "/hook", "event_types": []string{types},
			"retry_schedule": strings.Split(strings.Repeat("50ms ", 30)+"50ms", " ")})
	}
	// One takes all events, and is disabled: nothing goes there.
	k.node.must(http.MethodPost, "/v1/endpoints/"+k.oracle.endpoints[2]+"/disable", struct{}{})
	return k
}

// endpoint registers an endpoint that the ledger must know from then on.
func (o *oracle) endpoint(n *node, asked map[string]any) {
	n.t.Helper()
	var made struct{ ID string }
	into(n.t, n.must(http.MethodPost, "/v1/endpoints", asked), &made)
	o.endpoints = append(o.endpoints, made.ID)
}

func (k *killLoop) start() { k.node = startNode(k.t, k.dir, k.address, k.flags...) }

func (k *killLoop) rounds(n int) {
	for round := range n {
		stop := make(chan struct{})
		var load sync.WaitGroup
		for worker := range 8 {
			load.Go(func() { k.oracle.post(k.node, fmt.Sprintf("r%d-w%d", round, worker), stop) })
		}
		// The moment is random by design; nothing is asserted about it.
		timer := time.NewTimer(time.Duration(k.rng.IntN(300)) * time.Millisecond)
		<-timer.C
		k.node.kill()
		close(stop)
		load.Wait()
		k.start()
	}
}

// posts are the events' types and data, one endpoint's and the other one's in turn.
var posts = []string{`"event":"agent.status_changed","data":{"agentId":"a","from":"online","to":"offline"}`,
	`"event":"cron.completed","data":{"jobId":"j","runId":"r","status":"success"}`}

// post posts events, one after the other, until the node is gone or stop is closed, and notes those that were acked.
func (o *oracle) post(n *node, prefix string, stop chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("%s-%d", prefix, i)
		body := fmt.Appendf(nil, `{"id":%q,%s}`, id, posts[i%len(posts)])
		code, _, err := n.call(http.MethodPost, "/v1/events", body)
		if err != nil {
			return
		}
		if code == http.StatusAccepted {
			o.mu.Lock()
			o.acked[id] = true
			o.mu.Unlock()
		}
	}
}

// node is a hookledger in a process of its own.
type node struct {
	cmd  *exec.Cmd
	url  string
	key  string
	done chan struct{} // closed when the process has ended
	t    *testing.T
	log  *bytes.Buffer
}

// httpClient has time for a machine that stands still: who asks a server that was killed is told at once.
var httpClient = &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// startNode starts the binary and returns when it is ready. No breaker holds back what a receiver fails at random: here
// it is the process that comes and goes.
func startNode(t *testing.T, dir, address string, extra ...string) *node {
	t.Helper()
	n := &node{url: "http://" + address, done: make(chan struct{}), t: t, log: &bytes.Buffer{}}
	n.cmd = exec.CommandContext(t.Context(), binary(t),
		append([]string{"serve", "--data-dir", dir, "--listen", address, "--dev", "--breaker-failures=0"},
			extra...)...)
	n.cmd.Stderr, n.cmd.Stdout = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(n.done); _ = n.cmd.Wait() }()
	t.Cleanup(n.kill)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	// Questions are counted, not seconds: a machine that stands still for minutes is no server that hangs.
	for asked := 0; ; asked++ {
		if code, _, err := n.call(http.MethodGet, "/readyz", nil); err == nil && code == http.StatusOK {
			break
		}
		if asked == 12_000 {
			t.Fatalf("the server is not ready after a minute of questions")
		}
		select {
		case <-n.done:
			t.Fatalf("the server ended at its start:\n%s", n.log)
		case <-tick.C:
		}
	}
	key, err := os.ReadFile(filepath.Join(dir, adminKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	n.key = strings.TrimSpace(string(key))
	return n
}

func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.done
}

// stop ends the node in order and expects exit code 0.
func (n *node) stop(t *testing.T) {
	t.Helper()
	if err := n.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-n.done
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("an orderly end gives exit code %d:\n%s", code, n.log)
	}
}

func (n *node) call(method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(n.t.Context(), method, n.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+n.key)
	req.Header.Set("Hookledger-Tenant", "default")
	req.Header.Set("Content-Type", "application/json")
	resp, err := httpClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// must calls and expects a 2xx.
func (n *node) must(method, path string, body any) []byte {
	n.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		n.t.Fatal(err)
	}
	code, answer, err := n.call(method, path, raw)
	if err != nil || code/100 != 2 {
		n.t.Fatalf("%s %s: %d %s %v", method, path, code, answer, err)
	}
	return answer
}

// awaitTerminal waits until no delivery is on its way.
func (n *node) awaitTerminal(t *testing.T) {
	t.Helper()
	c := n.client(t)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for asked := 0; ; asked++ {
		open, err := underWay(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if open == 0 {
			return
		}
		if asked == 3600 {
			t.Fatalf("deliveries without a terminal after three minutes of questions; held: %s; retrying: %s",
				n.must(http.MethodGet, "/v1/deliveries?limit=2&status=held", nil),
				n.must(http.MethodGet, "/v1/deliveries?limit=2&status=retrying", nil))
		}
		<-tick.C
	}
}

// client is the commands' own.
func (n *node) client(t *testing.T) *apiclient.Client {
	t.Helper()
	c, err := apiclient.New(apiclient.Config{Server: n.url, Key: domain.NewSecret(n.key), Tenant: domain.DefaultTenant,
		Timeout: planPatience, Transport: httpClient.Transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// records reads the whole ledger over the API, one after the other: after a thousand kills it is millions. A stream
// that breaks off, as where the machine stood still, is taken up behind its last record.
func (n *node) records(t *testing.T) iter.Seq[record] {
	t.Helper()
	c := n.client(t)
	return func(yield func(record) bool) {
		enough, after := errors.New("the reader has enough"), uint64(0)
		read := func(it apiclient.Item[apiclient.Record]) error {
			after = it.Value.Position
			r := record{ID: it.Value.ID, Type: it.Value.Type, Stream: it.Value.Stream}
			if err := json.Unmarshal(it.Value.Data, &r.Data); err != nil {
				return fmt.Errorf("%w in %s", err, it.Raw)
			}
			if !yield(r) {
				return enough
			}
			return nil
		}
		for from := after; ; from = after {
			err := c.Records(t.Context(), url.Values{"after": {strconv.FormatUint(from, 10)}}, read)
			if err == nil || errors.Is(err, enough) {
				return
			}
			if apiclient.CodeOf(err) != "unreachable" || after == from {
				t.Fatalf("%v\n%s", err, n.log)
			}
			t.Logf("behind %d of the records: %v", after, err)
		}
	}
}

// freeAddress finds a port; the node takes it anew after each kill.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// binary is this test's own binary under the name that makes it run main; see TestMain.
func binary(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("hookledger")
	if err != nil {
		t.Fatal(err)
	}
	return path
}
