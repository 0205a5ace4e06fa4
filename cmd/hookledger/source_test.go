package main

import (
	"context"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/domain"
	"hookledger/sources/agenfleet/agenfleettest"
)

// TestSourcesGoOnAfterARestart: what changed while the server was down is an event, once, and what was said stays said.
func TestSourcesGoOnAfterARestart(t *testing.T) {
	t.Parallel()
	stand := agenfleettest.New(agenfleettest.Agent{ID: "atlas", Status: "online", TokensInput: 90, Daily: 100,
		Threshold: 0.8})
	fleet := httptest.NewServer(stand)
	defer fleet.Close()
	cfg := serverConfig{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0"}
	cfg.Egress.Dev = true
	id := ""
	// life runs a server until it has polled and shows what it is expected to.
	life := func(want map[string]int) {
		t.Helper()
		s := started(t, cfg)
		c, err := apiclient.New(apiclient.Config{Server: s.URL, Tenant: domain.DefaultTenant, Key: s.AdminKey})
		if err != nil {
			t.Fatal(err)
		}
		if id == "" {
			var made apiclient.Item[apiclient.Source]
			if err := c.Post(t.Context(), "/v1/sources", map[string]any{"kind": "agenfleet", "agenfleet": map[string]any{
				"url": fleet.URL + agenfleettest.Base, "email": stand.Email, "password": stand.Password}}, &made); err != nil {
				t.Fatal(err)
			}
			id = made.Value.ID
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			var src apiclient.Item[apiclient.Source]
			if err := c.Get(ctx, sourcePath(id), nil, &src); err != nil {
				t.Fatal(err)
			}
			page, err := apiclient.List[apiclient.Event](ctx, c, "/v1/events", nil)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]int{}
			for _, e := range page.Data {
				got[e.Value.Event]++
			}
			if src.Value.Status.State == "polled" && maps.Equal(got, want) {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("%+v: got %v, want %v", src.Value.Status, got, want)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	life(map[string]int{"agent.budget_alert": 1})
	stand.Change("atlas", func(a *agenfleettest.Agent) { a.Status, a.TokensInput = "degraded", 95 })
	both := map[string]int{"agent.budget_alert": 1, "agent.status_changed": 1}
	life(both)
	life(both)
}
