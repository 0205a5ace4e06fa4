package simulation

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

const (
	seedsOfATest = 25
	window       = 32
	things       = 24     // that happen to a world, on average
	longEvery    = 100    // seeds: one of them lives for days
	posted       = "sim_" // begins the ids of what is posted; all other events are the product's own
)

// span is how long a world lives before it is healed, and the waits of its endpoints' retries: in each, deliveries are
// exhausted.
type span struct {
	horizon  time.Duration
	schedule []string
}

var (
	hours = span{6 * time.Hour, []string{"5s", "1m", "10m", "1h", "3h"}}
	days  = span{8 * 24 * time.Hour, nil} // the default schedule, of three days
)

func TestSimulation(t *testing.T) {
	first, last := seeds(t)
	var total tally
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed <= last; seed++ {
			t.Run(fmt.Sprintf("HOOKLEDGER_SEED=%d", seed), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				synctest.Test(t, func(t *testing.T) { total.add(simulate(t, seed, dir)) })
			})
		}
	})
	t.Logf("seeds %d to %d: %v", first, last, &total)
}

// seeds are those that the environment asks for.
func seeds(t *testing.T) (first, last uint64) {
	first, last = 1, seedsOfATest
	if text := os.Getenv("HOOKLEDGER_SEEDS"); text != "" {
		from, to, between := strings.Cut(text, "-")
		if !between {
			from, to = "1", text
		}
		var err1, err2 error
		first, err1 = strconv.ParseUint(from, 10, 64)
		last, err2 = strconv.ParseUint(to, 10, 64)
		if err1 != nil || err2 != nil || last < first {
			t.Fatalf("HOOKLEDGER_SEEDS=%q is no number of seeds, and no range such as 501-1000", text)
		}
	}
	if text := os.Getenv("HOOKLEDGER_SEED"); text != "" {
		one, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("HOOKLEDGER_SEED=%q is no number", text)
		}
		return one, one
	}
	return first, last
}

// world is what a seed makes: a disk, a network with receivers, people, and one life of the product after the other.
type world struct {
	t         *testing.T
	rng       *rand.Rand // of the plan; used by one goroutine
	dir       string     // of the rows
	rows      int
	span      span
	master    domain.Secret
	admin     domain.Secret
	net       *network
	receivers *receivers
	posting   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	chance *rand.Rand // of what happens in other goroutines
	lives  int
	life   *life // nil between two
	events int
	acked  map[string]string // the data of each event that was answered 202, by id
	hosts  []string          // of the endpoints, removed ones too
	ids    map[string]string // of the endpoints, by host
	ledger *witness
	tally  tally
}

func simulate(t *testing.T, seed uint64, dir string) tally {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), chance: rand.New(rand.NewPCG(seed, 2)), dir: dir,
		master: domain.NewSecret(strings.Repeat("5a", 32)), admin: domain.NewSecret("hl_" + strings.Repeat("a", 43)),
		acked: map[string]string{}, ids: map[string]string{}, ledger: newWitness()}
	w.receivers = &receivers{draw: w.draw, seen: w.seen, moods: map[string]mood{}}
	w.net = newNetwork(w.receivers)
	defer w.net.end()
	defer func() { // also where something was fatal
		if w.life != nil {
			if err := w.life.end(); err != nil {
				t.Errorf("the last life's end: %v", err)
			}
		}
	}()
	w.start(vfs.NewCrashableMem())
	if err := w.bootstrap(w.life); err != nil {
		t.Fatal(err)
	}
	if w.span = hours; seed%longEvery == 1 {
		w.span = days
	}
	for range 2 + w.rng.IntN(3) {
		w.register()
	}
	for end := time.Now().Add(w.span.horizon); time.Now().Before(end) && !t.Failed(); {
		pass(time.Duration(w.rng.ExpFloat64() * float64(w.span.horizon/things)))
		w.step()
	}
	w.heal()
	w.verify()
	w.rebuilt() // what follows waits for the product, which may want the world's lock
	w.shown()
	return w.tally
}

// step lets one thing happen.
func (w *world) step() {
	switch n := w.rng.IntN(100); {
	case n < 42:
		w.posts()
	case n < 60:
		w.receivers.set(w.host(), mood(w.rng.IntN(int(moods))))
	case n < 68:
		w.crash()
	case n < 71:
		w.restart()
	case n < 76:
		w.retry(w.delivery(""))
	case n < 80:
		w.cancel()
	case n < 84:
		w.disable(w.endpoint())
	case n < 88:
		w.enable(w.endpoint())
	case n < 92:
		w.rotate(w.endpoint())
	case n < 95:
		w.replay()
	case n < 97:
		w.reconfigure(w.endpoint())
	case n < 99:
		w.remove(w.endpoint())
		w.register()
	default:
		w.ask("GET", "/v1/deliveries?limit=50&status=retrying", nil)
	}
}

// pass lets the synthetic clock go on.
func pass(d time.Duration) { <-time.After(d) }

// start begins a life over what is on the disk.
func (w *world) start(disk *vfs.MemFS) {
	w.mu.Lock()
	number := w.lives
	w.mu.Unlock()
	w.net.cut(number)
	l, err := w.born(disk, rowsOf(w.dir, w.rows))
	if err != nil {
		w.t.Fatalf("life %d does not start: %v", number, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life = l
	if err := w.ledger.stands(l.store); err != nil {
		w.t.Errorf("life %d: %v", number, err)
	}
}

// crash kills the process, or takes its power, at once: what it had open breaks, what it was about to answer is not
// heard, and of what was not synced a part is kept. The rows stay as they were left, ahead of the ledger, or are lost.
func (w *world) crash() {
	w.busy()
	w.mu.Lock()
	old := w.life
	w.life = nil
	w.lives++
	w.tally.crashes++
	w.net.cut(w.lives)
	share := []int{0, 30, 100}[w.rng.IntN(3)]
	left := old.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: share, RNG: rand.New(rand.NewPCG(w.rng.Uint64(), 3))})
	w.mu.Unlock()
	_ = old.end() // nothing of it can be seen any more, but its goroutines must go
	if w.rng.IntN(2) == 0 {
		w.rows++
	}
	pass(time.Duration(w.rng.IntN(600)) * time.Second)
	w.start(left)
}

// restart ends the process in order and starts it again.
func (w *world) restart() {
	w.busy()
	w.mu.Lock()
	old := w.life
	w.life = nil
	w.lives++
	w.mu.Unlock()
	if err := old.end(); err != nil {
		w.t.Errorf("an orderly end: %v", err)
	}
	w.start(old.fs)
}

// busy makes it likely that something is under way: right after posts, or while somebody hangs.
func (w *world) busy() {
	if w.rng.IntN(4) > 0 {
		w.posts()
		pass(time.Duration(w.rng.ExpFloat64() * float64(time.Second)))
	}
}

// posts posts some events side by side.
func (w *world) posts() {
	for range 1 + w.rng.IntN(4) {
		w.post()
	}
}

// ask calls the API; what people ask for may be refused, but never fail.
func (w *world) ask(method, path string, body any) answer {
	a := w.call(w.life, method, path, body)
	if a.status >= http.StatusInternalServerError {
		w.t.Errorf("%s %s answers %d: %s", method, path, a.status, a.body)
	}
	return a
}

// post posts an event until it is answered: by this life, or by a later one.
func (w *world) post() {
	w.mu.Lock()
	w.events++
	id := posted + strconv.Itoa(w.events)
	w.mu.Unlock()
	data := fmt.Sprintf(`{"jobId":"job","runId":"run-%s","status":"success"}`, id)
	body := map[string]any{"id": id, "event": "cron.completed", "data": json.RawMessage(data)}
	w.posting.Go(func() {
		for {
			w.mu.Lock()
			l := w.life
			w.mu.Unlock()
			if l == nil {
				pass(10 * time.Second)
				continue
			}
			a := w.call(l, "POST", "/v1/events", body)
			w.mu.Lock()
			heard := w.life == l
			if heard && a.status == http.StatusAccepted {
				w.acked[id] = data
			}
			w.mu.Unlock()
			switch {
			case heard && a.status == http.StatusAccepted:
				return
			case heard && a.status != http.StatusServiceUnavailable:
				w.t.Errorf("the post of %s was answered %d: %s", id, a.status, a.body)
				return
			}
			pass(10 * time.Second)
		}
	})
}

// newID draws a record's id.
func (w *world) newID() ulid.ULID {
	var u ulid.ULID
	_ = u.SetTime(ulid.Timestamp(time.Now()))
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := 6; i < len(u); i++ {
		u[i] = byte(w.chance.Uint32())
	}
	return u
}

func (w *world) jitter() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return 2*w.chance.Float64() - 1
}

func (w *world) draw(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.chance.IntN(n)
}
