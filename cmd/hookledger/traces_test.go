package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"hookledger/delivery"
)

// otlp is a collector that keeps what it gets.
type otlp struct {
	mu    sync.Mutex
	raw   bytes.Buffer
	spans []*tracev1.Span
}

func (o *otlp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	raw, err := io.ReadAll(body)
	var got collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(raw, &got)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "no spans", http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.raw.Write(raw)
	for _, resource := range got.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			o.spans = append(o.spans, scope.Spans...)
		}
	}
}

// TestTraces follows an event from its post through an attempt that fails to the one that is taken: one trace, which
// says nothing of what is sealed.
func TestTraces(t *testing.T) {
	t.Parallel()
	o := &otlp{}
	sink := httptest.NewServer(o)
	defer sink.Close()
	requests, taken := 0, make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests++; requests == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		close(taken)
	}))
	defer receiver.Close()
	s := started(t, serverConfig{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0",
		Egress: delivery.EgressConfig{Dev: true}, Traces: tracesConfig{Endpoint: sink.URL, Ratio: 1}})
	post := func(path string, body map[string]any) {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.AdminKey.Reveal())
		r.Header.Set("Hookledger-Tenant", "default")
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("%s answers %s", path, resp.Status)
		}
	}
	post("/v1/endpoints", map[string]any{"url": receiver.URL + "/canary-path?k=canary-query", "event_types": []string{"*"},
		"retry_schedule": []string{"1ms", "1ms"}})
	post("/v1/events", map[string]any{"id": "evt_traced", "event": "cron.completed", "subject": "canary-subject",
		"data": map[string]any{"jobId": "canary-data", "runId": "r"}})
	<-taken
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.spans) != 3 {
		t.Fatalf("%d spans came, want the event's and two attempts'", len(o.spans))
	}
	event := rootOf("default", "evt_traced")
	attempts := 0
	for _, span := range o.spans {
		if !bytes.Equal(span.TraceId, event.trace[:]) {
			t.Errorf("the span %q is of another trace", span.Name)
		}
		switch {
		case bytes.Equal(span.SpanId, event.span[:]):
			if len(span.ParentSpanId) != 0 {
				t.Errorf("the event's span has a parent")
			}
		case span.Name == "attempt":
			attempts++
			if !bytes.Equal(span.ParentSpanId, event.span[:]) {
				t.Errorf("an attempt's parent is not the event's span")
			}
			said := span.Status.GetCode() == tracev1.Status_STATUS_CODE_ERROR
			if failed := strings.Contains(span.String(), "502"); failed != said {
				t.Errorf("an attempt's status is %v: %v", span.Status, span)
			}
		}
	}
	if attempts != 2 {
		t.Errorf("%d attempts were traced", attempts)
	}
	if secret := "canary"; bytes.Contains(o.raw.Bytes(), []byte(secret)) {
		t.Errorf("the spans hold what the ledger seals")
	}
}

// A collector that is not there holds up nothing.
func TestTracesWithoutACollector(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	s := started(t, serverConfig{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0",
		Traces: tracesConfig{Endpoint: gone.URL, Ratio: 1}})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
