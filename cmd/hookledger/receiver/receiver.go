package receiver

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"hookledger/domain"
)

// maxBody bounds what is read of a request: an event's envelope is a little more than domain.MaxBody.
const maxBody = domain.MaxBody + 4096

// Config says what to check and what to answer.
type Config struct {
	// Keys gives the signing keys for a request's path; nil or none: the signature is not checked.
	Keys      func(path string) []domain.Key
	FailFirst int           // so many requests are answered 503, before any is taken
	Status    int           // of the answer to a request that verifies; 0: 200
	Latency   time.Duration // before each answer
	Arrivals  bool          // keep when each webhook-id came first
	Now       func() time.Time
	// OnRequest is called for every request, before it is answered, from the request's goroutine; it may be nil.
	OnRequest func(Request)
}

// Request is what came in.
type Request struct {
	At        time.Time
	Path      string
	ID        string
	Timestamp string
	Replay    bool // marked as one
	Body      []byte
	Checked   bool  // there were keys to check it with
	Err       error // why it does not verify
	Repeat    bool  // the id was seen before
	Status    int   // that it is answered with
}

// Event is the type that the envelope names, "" if there is none.
func (r *Request) Event() string {
	var envelope struct {
		Event string `json:"event"`
	}
	if json.Unmarshal(r.Body, &envelope) != nil {
		return ""
	}
	return envelope.Event
}

// Stats counts requests.
type Stats struct {
	Received  int64     `json:"received"`
	Verified  int64     `json:"verified"`
	Invalid   int64     `json:"invalid"`           // signature or timestamp
	Failed    int64     `json:"failed_on_purpose"` // by FailFirst
	Accepted  int64     `json:"accepted"`          // answered 2xx
	UniqueIDs int64     `json:"unique_ids"`        // among the accepted
	FirstAt   time.Time `json:"first_at,omitzero"`
	LastAt    time.Time `json:"last_at,omitzero"` // of the last accepted that was new
}

// Receiver is an http.Handler. It is safe for concurrent use.
type Receiver struct {
	cfg      Config
	bodies   sync.Pool
	received atomic.Int64
	verified atomic.Int64
	invalid  atomic.Int64
	failed   atomic.Int64
	accepted atomic.Int64

	seed    maphash.Seed
	mu      sync.Mutex // guards what follows
	seen    map[uint64]struct{}
	arrived map[string]time.Time
	first   time.Time
	last    time.Time
}

// New makes a receiver.
func New(cfg Config) *Receiver {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Status == 0 {
		cfg.Status = http.StatusOK
	}
	r := &Receiver{cfg: cfg, seed: maphash.MakeSeed()}
	r.bodies.New = func() any { return new(bytes.Buffer) }
	r.Reset()
	return r
}

// Reset forgets what was counted. FailFirst starts anew.
func (r *Receiver) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.arrived, r.first, r.last = map[uint64]struct{}{}, map[string]time.Time{}, time.Time{}, time.Time{}
	for _, n := range []*atomic.Int64{&r.received, &r.verified, &r.invalid, &r.failed, &r.accepted} {
		n.Store(0)
	}
}

// Stats gives the counters.
func (r *Receiver) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Received: r.received.Load(), Verified: r.verified.Load(), Invalid: r.invalid.Load(),
		Failed: r.failed.Load(), Accepted: r.accepted.Load(), UniqueIDs: int64(len(r.seen)), FirstAt: r.first, LastAt: r.last}
}

// ServeHTTP takes a webhook on any path with POST. GET /stats gives the counters, GET /arrivals the first arrival of
// each id in nanoseconds since 1970, and DELETE /stats resets both.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.Method == http.MethodPost:
		r.take(w, req)
	case req.Method == http.MethodGet && req.URL.Path == "/stats":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r.Stats())
	case req.Method == http.MethodGet && req.URL.Path == "/arrivals":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r.arrivals())
	case req.Method == http.MethodDelete && req.URL.Path == "/stats":
		r.Reset()
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "this receives webhooks: POST one", http.StatusMethodNotAllowed)
	}
}

func (r *Receiver) arrivals() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]int64, len(r.arrived))
	for id, at := range r.arrived {
		out[id] = at.UnixNano()
	}
	return out
}

func (r *Receiver) take(w http.ResponseWriter, req *http.Request) {
	at := r.cfg.Now()
	n := r.received.Add(1)
	buf, _ := r.bodies.Get().(*bytes.Buffer)
	buf.Reset()
	defer r.bodies.Put(buf)
	if _, err := buf.ReadFrom(io.LimitReader(req.Body, maxBody+1)); err != nil || buf.Len() > maxBody {
		r.invalid.Add(1)
		http.Error(w, "the body is too large, or did not come whole", http.StatusRequestEntityTooLarge)
		return
	}
	got := Request{At: at, Path: req.URL.Path, ID: req.Header.Get(domain.HeaderWebhookID), Body: buf.Bytes(),
		Timestamp: req.Header.Get(domain.HeaderWebhookTimestamp), Replay: req.Header.Get(domain.HeaderWebhookReplay) != ""}
	r.check(&got, req.Header.Get(domain.HeaderWebhookSignature))
	got.Status = r.cfg.Status
	switch {
	case got.Err != nil:
		got.Status = http.StatusUnauthorized
	case n <= int64(r.cfg.FailFirst):
		r.failed.Add(1)
		got.Status = http.StatusServiceUnavailable
	}
	r.count(&got)
	if r.cfg.OnRequest != nil {
		seen := got
		seen.Body = bytes.Clone(got.Body)
		r.cfg.OnRequest(seen)
	}
	if r.cfg.Latency > 0 {
		timer := time.NewTimer(r.cfg.Latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			return
		}
	}
	if got.Err != nil {
		http.Error(w, got.Err.Error(), got.Status)
		return
	}
	w.WriteHeader(got.Status)
}

func (r *Receiver) check(got *Request, signatures string) {
	if r.cfg.Keys == nil {
		return
	}
	keys := r.cfg.Keys(got.Path)
	if len(keys) == 0 {
		return
	}
	got.Checked = true
	if got.Err = domain.Verify(keys, got.ID, got.Timestamp, signatures, got.Body, got.At); got.Err != nil {
		r.invalid.Add(1)
		return
	}
	r.verified.Add(1)
}

// count notes an id that is taken; ids are kept as 64-bit hashes.
func (r *Receiver) count(got *Request) {
	if got.Status/100 != 2 {
		return
	}
	r.accepted.Add(1)
	// One event goes to several endpoints: the path tells their requests apart.
	var h maphash.Hash
	h.SetSeed(r.seed)
	_, _ = h.WriteString(got.ID)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(got.Path)
	key := h.Sum64()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first.IsZero() || got.At.Before(r.first) {
		r.first = got.At
	}
	if _, got.Repeat = r.seen[key]; got.Repeat {
		return
	}
	r.seen[key] = struct{}{}
	if got.At.After(r.last) {
		r.last = got.At
	}
	if _, before := r.arrived[got.ID]; r.cfg.Arrivals && !before {
		r.arrived[got.ID] = got.At
	}
}
