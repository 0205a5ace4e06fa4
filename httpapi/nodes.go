package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hookledger/domain"
)

// Projection is where a read model of this node stands.
type Projection struct {
	Name     string          `json:"name" example:"history"`
	Status   string          `json:"status" enum:"running,failed"`
	Position domain.Position `json:"position" doc:"The ledger's position up to which it was folded."`
	Head     domain.Position `json:"head" doc:"The ledger's last position."`
	LagMS    float64         `json:"lag_ms"`
	Error    string          `json:"error,omitempty" doc:"Why it stopped; shown to platform keys."`
	RecordID string          `json:"record_id,omitempty"`
	Rebuilt  string          `json:"rebuilt,omitempty" doc:"Why it was folded anew when the server started."`
}

func (a *api) registerProjections() {
	register(a, operation{id: "list-projections", tag: "Projections", summary: "List projections",
		description: "The read models of this node, and how far they have come."}, a.listProjections)
	register(a, operation{id: "get-node", tag: "Server", summary: "Say how this node does",
		description: "Whether it takes events and starts attempts. What its disk has free is shown to platform keys."},
		a.getNode)
}

// Space is what the disk under the ledger, or under the data directory where that is elsewhere, has free.
type Space struct {
	Free     uint64 `json:"free_bytes" example:"52428800"`
	LowWater uint64 `json:"low_water_bytes" doc:"Below it nothing is taken (--low-water)." example:"268435456"`
}

// Node is how a node does.
type Node struct {
	Status   string `json:"status" enum:"ok,reads_only" doc:"reads_only: it takes no event and starts no attempt for now."`
	Version  string `json:"version" doc:"Of the binary."`
	LedgerID string `json:"ledger_id,omitempty"`
	Disk     string `json:"disk" doc:"ok, or why nothing is taken."`
	Space    *Space `json:"disk_space,omitempty" doc:"Shown to platform keys; absent too where it is not known."`
}

type nodeOutput struct {
	Body Node
}

func (a *api) getNode(_ context.Context, c *caller, _ *struct{}) (*nodeOutput, error) {
	n := Node{Version: a.Version, LedgerID: a.LedgerID}
	n.Status, n.Disk = a.takes()
	if free, low, known := a.Space(); known && c.platform() {
		n.Space = &Space{Free: free, LowWater: low}
	}
	return &nodeOutput{n}, nil
}

func (a *api) listProjections(_ context.Context, c *caller, _ *struct{}) (*listOutput[Projection], error) {
	out := &listOutput[Projection]{Body: List[Projection]{Data: []Projection{}, AsOfPosition: a.Store.Head(),
		AsOf: a.now()}}
	for _, s := range a.status() {
		p := Projection{Name: s.Name, Status: "running", Position: s.Position, Head: s.Head,
			LagMS: milliseconds(s.Behind.Microseconds()), Rebuilt: s.Rebuilt}
		if s.Err != nil {
			p.Status = "failed"
			if c.platform() {
				p.Error, p.RecordID = s.Err.Error(), s.Record
			}
		}
		out.Body.Data = append(out.Body.Data, p)
	}
	return out, nil
}

// rowsPosition is the position up to which the rows are folded.
func (a *api) rowsPosition() domain.Position {
	for _, s := range a.History.Status() {
		if s.Name == "history" {
			return s.Position
		}
	}
	return 0
}

// Health is the answer of /livez and /readyz while requests are answered.
type Health struct {
	Status   string `json:"status" enum:"ok,reads_only" doc:"reads_only, of /readyz: nothing is taken or sent."`
	Version  string `json:"version" doc:"Of the binary."`
	LedgerID string `json:"ledger_id,omitempty" doc:"Which ledger answers."`
	Disk     string `json:"disk,omitempty" doc:"ok, or why nothing is taken; of /readyz."`
	// FollowUps is about operational events, endpoints to be disabled, cron.delivered and cron.failed.
	FollowUps string `json:"follow_ups,omitempty" doc:"ok, or how much of what follows from deliveries waits; of /readyz."`
}

func (a *api) livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, Health{Status: "ok", Version: a.Version})
}

// readyz says whether requests may be sent to this node: a problem that says why not while it can't answer them. One
// without room takes no event and starts no attempt, and is ready all the same, for readers; its status says so.
func (a *api) readyz(w http.ResponseWriter, r *http.Request) {
	var because []string
	if err := a.Ready(); err != nil {
		because = append(because, err.Error())
	}
	for _, s := range a.status() {
		if s.Err != nil {
			because = append(because, "the projection "+s.Name+" stopped at record "+s.Record+
				": rebuild it with hookledger projection rebuild")
		}
	}
	if len(because) > 0 {
		a.fail(w, r, newProblem(http.StatusServiceUnavailable, "not_ready", strings.Join(because, "; ")))
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	h := Health{Version: a.Version, LedgerID: a.LedgerID}
	h.Status, h.Disk = a.takes()
	if a.FollowUps != nil {
		h.FollowUps = a.FollowUps()
	}
	writeJSON(w, http.StatusOK, h)
}

// takes says whether events are taken and attempts start, and if not, why, in words that anybody may read.
func (a *api) takes() (status, why string) {
	err := a.Room()
	var refusal *domain.Error
	switch {
	case err == nil:
		return "ok", "ok"
	case errors.As(err, &refusal):
		return "reads_only", refusal.Detail
	}
	return "reads_only", "nobody can tell whether there is room; the server's log says why"
}

// metrics shows the registry to Prometheus.
func (a *api) metrics() http.Handler {
	return promhttp.HandlerFor(a.Registry, promhttp.HandlerOpts{Timeout: 10 * time.Second})
}

// guardHealth serves what needs no key.
func (a *api) guardHealth() {
	public := func(h http.Handler) func(http.ResponseWriter, *http.Request, *caller) {
		return func(w http.ResponseWriter, r *http.Request, _ *caller) { h.ServeHTTP(w, r) }
	}
	a.mux.guard("GET /livez", public(http.HandlerFunc(a.livez)))
	a.mux.guard("GET /readyz", public(http.HandlerFunc(a.readyz)))
	if !a.HideMetrics {
		a.mux.guard("GET /metrics", public(a.metrics()))
	}
	a.mux.guard("GET /openapi.json", public(http.HandlerFunc(a.serveOpenAPI)))
	a.mux.guard("GET /docs", public(http.RedirectHandler("/docs/", http.StatusMovedPermanently)))
	a.mux.ServeMux.HandleFunc("GET /docs/", a.mux.counted("GET", "/docs/", docs().ServeHTTP))
}

// NewAdmin makes the handler for an address of its own: /livez, /readyz and /metrics, without a key.
func NewAdmin(cfg Config) (http.Handler, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &api{Config: cfg, History: cfg.Projections}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", a.livez)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", a.metrics())
	return mux, nil
}
