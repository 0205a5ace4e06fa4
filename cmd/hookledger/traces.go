package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"hookledger/delivery"
	"hookledger/ingest"
)

// tracesConfig says where OpenTelemetry's traces go.
type tracesConfig struct {
	Endpoint string  // of an OTLP/HTTP collector, such as http://127.0.0.1:4318; empty: there are no traces
	Ratio    float64 // of the events that are traced, 0 to 1
}

func (t *tracesConfig) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&t.Endpoint, "otlp-endpoint", "",
		"OTLP/HTTP collector that traces go to, such as http://127.0.0.1:4318 (default: no traces)")
	flags.Float64Var(&t.Ratio, "trace-ratio", 1, "share of the events that are traced, from 0 to 1")
	asSetting(flags, "otlp-endpoint", "trace-ratio")
}

func (t *tracesConfig) checked() (tracesConfig, error) {
	if t.Ratio < 0 || t.Ratio > 1 {
		return *t, usage(fmt.Sprintf("--trace-ratio %g is out of range", t.Ratio),
			"give 0 to 1, such as 0.01 for a hundredth")
	}
	if u, err := url.Parse(t.Endpoint); t.Endpoint != "" &&
		(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return *t, usage("--otlp-endpoint is no http or https URL", "give one like http://127.0.0.1:4318")
	}
	return *t, nil
}

// traces makes a trace of each event: a span for its post, and below it one for each attempt, whenever that is. The ids
// of the trace and of its root derive from the event, so that an attempt days later, in another life or on another
// node, finds its place. Spans name ids, hosts and outcomes, and nothing that the ledger seals.
type traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// endOfTraces is how long the last spans may take to be sent.
const endOfTraces = 5 * time.Second

// newTraces gives nil where no traces are asked for. A collector that does not answer loses spans, and holds up
// nothing.
func newTraces(ctx context.Context, cfg tracesConfig, log *slog.Logger) (*traces, error) {
	if cfg.Endpoint == "" {
		return nil, nil //nolint:nilnil // whose methods do nothing
	}
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("--otlp-endpoint: %w", err)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()))
	if err != nil {
		return nil, fmt.Errorf("make the exporter of traces: %w", err)
	}
	t := &traces{provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithIDGenerator(traceIDs{}),
		sdktrace.WithSampler(sdktrace.TraceIDRatioBased(cfg.Ratio)),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "hookledger"),
			attribute.String("service.version", version))))}
	t.tracer = t.provider.Tracer("hookledger")
	log.Info("traces are sent", "collector", u.Host, "ratio", cfg.Ratio)
	return t, nil
}

// Close sends what is left.
func (t *traces) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), endOfTraces)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// events observes an Ingest; nil where there are no traces.
func (t *traces) events() ingest.Observer {
	if t == nil {
		return nil
	}
	return t
}

// attempts observes a Delivery; nil where there are no traces.
func (t *traces) attempts() delivery.Observer {
	if t == nil {
		return nil
	}
	return t
}

// Event makes the root of an event's trace. A post that repeats another one is no part of it.
func (t *traces) Event(s *ingest.Seen) {
	if s.Duplicate {
		return
	}
	ctx := context.WithValue(context.Background(), rootKey{}, rootOf(s.Tenant, s.Event))
	_, span := t.tracer.Start(ctx, "event "+s.Type, trace.WithTimestamp(s.Begun),
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
			attribute.String("hookledger.tenant", s.Tenant), attribute.String("hookledger.event", s.Event),
			attribute.String("hookledger.event_type", s.Type), attribute.Int("hookledger.deliveries", s.Deliveries)))
	span.End(trace.WithTimestamp(s.Ended))
}

// Attempt makes the span of an attempt, below its event's.
func (t *traces) Attempt(s *delivery.Seen) {
	root := rootOf(s.Due.Tenant, s.Due.Event)
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: root.trace, SpanID: root.span, TraceFlags: trace.FlagsSampled, Remote: true}))
	total := time.Duration(s.Timings.Total) * time.Microsecond
	_, span := t.tracer.Start(ctx, "attempt", trace.WithTimestamp(s.Ended.Add(-total)),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("hookledger.tenant", s.Due.Tenant), attribute.String("hookledger.event", s.Due.Event),
			attribute.String("hookledger.delivery", s.Due.Delivery), attribute.String("hookledger.endpoint", s.Due.Endpoint),
			attribute.String("hookledger.attempt", s.Attempt), attribute.Int("hookledger.attempt_n", s.N),
			attribute.String("server.address", s.Host), attribute.Int("http.response.status_code", s.Status),
			attribute.Int64("hookledger.first_byte_us", s.Timings.FirstByte)))
	if s.Code != "" {
		span.SetAttributes(attribute.String("error.type", string(s.Code)))
	}
	if s.Code != "" || s.Status < 200 || s.Status > 299 {
		span.SetStatus(codes.Error, string(s.Code))
	}
	span.End(trace.WithTimestamp(s.Ended))
}

// root is where an event's trace begins.
type root struct {
	trace trace.TraceID
	span  trace.SpanID
}

type rootKey struct{}

func rootOf(tenant, event string) root {
	sum := sha256.Sum256([]byte("trace of " + tenant + "." + event))
	return root{trace.TraceID(sum[:16]), trace.SpanID(sum[16:24])}
}

// traceIDs gives an event's root its own ids, and all other spans random ones.
type traceIDs struct{}

func (traceIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if r, ok := ctx.Value(rootKey{}).(root); ok {
		return r.trace, r.span
	}
	id, more := newID(), newID()
	return trace.TraceID(id), trace.SpanID(more[8:])
}

func (traceIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	id := newID()
	return trace.SpanID(id[8:])
}
