package agenfleettest

import (
	"crypto/rand"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Base is the path that all of the API stands under.
const Base = "/api"

// Limits of requests from one address, as they are documented.
const (
	generalLimit  = 60
	generalWindow = time.Minute
	loginLimit    = 10
	loginWindow   = 15 * time.Minute
	defaultPage   = 20
	maxPage       = 100
)

// Agent is one of the fleet.
type Agent struct {
	ID, Name, Role, Status, Model string
	CreatedAt, LastActiveAt       time.Time
	TokensInput, TokensOutput     uint64
	Daily, Monthly                uint64  // token budgets; 0: none
	Threshold                     float64 // 0: none
	Cost, CostBudget              json.Number
}

// Server is the stand-in. It is an http.Handler, safe for concurrent use.
type Server struct {
	Email, Password string           // that may log in
	Key             string           // that is taken in place of a token; empty: none
	Now             func() time.Time // nil: time.Now
	TokenFor        time.Duration    // how long a token is taken; 0: for ever

	mu     sync.Mutex // guards all below
	agents []*Agent
	tokens map[string]time.Time // and when they were given
	calls  map[string][]time.Time
	fault  func(http.ResponseWriter, *http.Request) bool
	asked  int
}

// New makes a server with the given agents.
func New(agents ...Agent) *Server {
	s := &Server{Email: "bridge@example.com", Password: "fleet", tokens: map[string]time.Time{},
		calls: map[string][]time.Time{}}
	for i := range agents {
		s.agents = append(s.agents, &agents[i])
	}
	return s
}

// Change changes an agent; one that is not there is added.
func (s *Server) Change(id string, change func(*Agent)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.agents, func(a *Agent) bool { return a.ID == id })
	if i < 0 {
		i = len(s.agents)
		s.agents = append(s.agents, &Agent{ID: id, Name: id, Status: "online"})
	}
	change(s.agents[i])
}

// Remove takes an agent out of the fleet.
func (s *Server) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents = slices.DeleteFunc(s.agents, func(a *Agent) bool { return a.ID == id })
}

// Fault makes fn see every request first; where it returns true it has answered. nil ends it.
func (s *Server) Fault(fn func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fn
}

// ExpireTokens makes every token one that is not taken any more.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Requests counts those that came.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked++
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, Base)
	if !ok {
		fail(w, http.StatusNotFound, "Not found")
		return
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if r.Method == http.MethodPost && path == "/auth/login" {
		if s.over(w, "login "+host, loginLimit, loginWindow) {
			return
		}
		s.login(w, r)
		return
	}
	if s.over(w, host, generalLimit, generalWindow) {
		return
	}
	if !s.known(r) {
		fail(w, http.StatusUnauthorized, "Missing or invalid token")
		return
	}
	if r.Method != http.MethodGet {
		fail(w, http.StatusNotFound, "Not found")
		return
	}
	s.get(w, r, path)
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, path string) {
	switch id, single := strings.CutPrefix(path, "/agents/"); {
	case path == "/agents":
		s.list(w, r)
	case single:
		s.single(w, id)
	case path == "/cost-analysis/agents":
		s.costs(w)
	case path == "/cost-analysis/summary":
		s.summary(w)
	case path == "/cost-analysis/by-provider":
		answer(w, map[string]any{"providers": []any{}})
	case path == "/cost-analysis/by-model":
		answer(w, map[string]any{"models": []any{}})
	case path == "/cost-analysis/recommendations":
		answer(w, map[string]any{"recommendations": []any{}})
	default:
		fail(w, http.StatusNotFound, "Not found")
	}
}

// over counts a request in a sliding window, and answers 429 where it is one too many.
func (s *Server) over(w http.ResponseWriter, who string, most int, window time.Duration) bool {
	now := s.now()
	recent := slices.DeleteFunc(s.calls[who], func(at time.Time) bool { return now.Sub(at) >= window })
	s.calls[who] = recent
	if len(recent) < most {
		s.calls[who] = append(recent, now)
		return false
	}
	wait := window - now.Sub(recent[0])
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	fail(w, http.StatusTooManyRequests, "Too many requests")
	return true
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Email, Password string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, "Request body failed validation")
		return
	}
	if in.Email != s.Email || in.Password != s.Password {
		fail(w, http.StatusUnauthorized, "Invalid credentials")
		return
	}
	token := "eyJ." + rand.Text() + ".stand-in"
	s.tokens[token] = s.now()
	answer(w, map[string]any{"token": token, "user": map[string]string{"id": "1", "email": in.Email, "role": "admin"}})
}

func (s *Server) known(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return false
	}
	if token == s.Key {
		return true
	}
	at, ok := s.tokens[token]
	return ok && (s.TokenFor == 0 || s.now().Sub(at) < s.TokenFor)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	limit, ok1 := whole(r.URL.Query().Get("limit"), defaultPage)
	offset, ok2 := whole(r.URL.Query().Get("offset"), 0)
	if !ok1 || !ok2 || limit < 1 {
		fail(w, http.StatusBadRequest, "Request body failed validation")
		return
	}
	limit = min(limit, maxPage)
	var all []*Agent
	for _, a := range s.agents {
		if want := r.URL.Query().Get("status"); want == "" || want == a.Status {
			all = append(all, a)
		}
	}
	rows := []any{}
	for _, a := range all[min(offset, len(all)):min(offset+limit, len(all))] {
		rows = append(rows, a.row())
	}
	answer(w, map[string]any{"data": rows, "pagination": map[string]any{"total": len(all), "limit": limit,
		"offset": offset, "hasMore": offset+limit < len(all)}})
}

func whole(text string, otherwise int) (int, bool) {
	if text == "" {
		return otherwise, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}

func (a *Agent) row() map[string]any {
	return map[string]any{"id": a.ID, "name": a.Name, "role": a.Role, "status": a.Status, "model": a.Model,
		"createdAt": a.CreatedAt, "lastActiveAt": a.LastActiveAt, "tokensTodayInput": a.TokensInput,
		"tokensTodayOutput": a.TokensOutput}
}

func (s *Server) single(w http.ResponseWriter, id string) {
	i := slices.IndexFunc(s.agents, func(a *Agent) bool { return a.ID == id })
	if i < 0 {
		fail(w, http.StatusNotFound, "No agent found with that ID")
		return
	}
	a := s.agents[i]
	limits := map[string]any{}
	if a.Daily > 0 {
		limits["dailyTokenBudget"] = a.Daily
	}
	if a.Monthly > 0 {
		limits["monthlyTokenBudget"] = a.Monthly
	}
	if a.Threshold > 0 {
		limits["alertThreshold"] = a.Threshold
	}
	row := a.row()
	row["config"] = map[string]any{"limits": limits}
	answer(w, row)
}

func (s *Server) costs(w http.ResponseWriter) {
	rows := []any{}
	for _, a := range s.agents {
		if a.Cost == "" {
			continue
		}
		row := map[string]any{"id": a.ID, "name": a.Name, "modelName": a.Model, "actualCost": a.Cost, "status": a.Status}
		if a.CostBudget != "" {
			cost, _ := a.Cost.Float64()
			budget, _ := a.CostBudget.Float64()
			row["budget"], row["utilization"], row["overBudget"] = a.CostBudget, cost/budget, cost > budget
		}
		rows = append(rows, row)
	}
	answer(w, map[string]any{"agents": rows})
}

func (s *Server) summary(w http.ResponseWriter) {
	total := 0.0
	for _, a := range s.agents {
		cost, _ := a.Cost.Float64()
		total += cost
	}
	answer(w, map[string]any{"tokenCost": map[string]any{"total": total, "byProvider": []any{}, "byModel": []any{}},
		"totalSpend": total, "agentCount": len(s.agents), "providerCount": 0})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that went away asks again
}

func fail(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}
