package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"hookledger/domain"
)

// document is what /openapi.json says, for tests to hold every answer against.
type document struct {
	raw      any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
}

var theDocument = sync.OnceValue(func() *document {
	raw, err := OpenAPI("1.2.3")
	if err != nil {
		panic(err)
	}
	d := &document{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	if d.raw, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw)); err != nil {
		panic(err)
	}
	if err := d.compiler.AddResource("openapi.json", d.raw); err != nil {
		panic(err)
	}
	return d
})

// at follows names into the document; nil where there is nothing.
func (d *document) at(names ...string) any {
	v := d.raw
	for _, n := range names {
		m, _ := v.(map[string]any)
		v = m[n]
	}
	return v
}

// check validates a JSON text against the schema at a place in the document.
func (d *document) check(text []byte, names ...string) error {
	pointer := "openapi.json#"
	for _, n := range names {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(n)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.schemas[pointer] == nil {
		s, err := d.compiler.Compile(pointer)
		if err != nil {
			return err
		}
		d.schemas[pointer] = s
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return d.schemas[pointer].Validate(v)
}

// documented says what is wrong with an answer by the document: its status, its content type, its body.
func (d *document) documented(rt *route, status int, header http.Header, body []byte) error {
	place := []string{"paths", rt.path, strings.ToLower(rt.method), "responses", fmt.Sprint(status)}
	if d.at(place...) == nil {
		return fmt.Errorf("%s does not document status %d", rt.pattern(), status)
	}
	if len(body) == 0 {
		return nil
	}
	contentType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return err
	}
	place = append(place, "content", contentType)
	if d.at(place...) == nil {
		return fmt.Errorf("%s does not document %s for status %d", rt.pattern(), contentType, status)
	}
	texts := [][]byte{body}
	if contentType == "application/x-ndjson" {
		texts = slices.Collect(bytes.Lines(body))
	}
	for _, text := range texts {
		if err := d.check(text, append(place, "schema")...); err != nil {
			return fmt.Errorf("%s, status %d: %w", rt.pattern(), status, err)
		}
	}
	return nil
}

// TestDocumentHoldsEveryRoute: each route of the table is documented under its id, with a summary, its errors as
// problems, and a key unless it is public; and nothing else is.
func TestDocumentHoldsEveryRoute(t *testing.T) {
	t.Parallel()
	d := theDocument()
	count := 0
	for _, item := range d.at("paths").(map[string]any) {
		count += len(item.(map[string]any))
	}
	if count != len(routes) {
		t.Errorf("%d operations documented, %d routes", count, len(routes))
	}
	for i := range routes {
		rt := &routes[i]
		op, _ := d.at("paths", rt.path, strings.ToLower(rt.method)).(map[string]any)
		if op == nil {
			t.Errorf("%s is not documented", rt.pattern())
			continue
		}
		if op["operationId"] != rt.id || op["summary"] == nil || op["tags"] == nil {
			t.Errorf("%s: %v %v %v", rt.pattern(), op["operationId"], op["summary"], op["tags"])
		}
		if public := op["security"] != nil; public != (rt.scope == scopePublic || rt.scope == scopeToken) {
			t.Errorf("%s: security %v", rt.pattern(), op["security"])
		}
		for status, r := range op["responses"].(map[string]any) {
			content, _ := r.(map[string]any)["content"].(map[string]any)
			if status >= "4" && rt.scope != scopePublic && content[problemType] == nil {
				t.Errorf("%s: status %s is no problem", rt.pattern(), status)
			}
		}
		for _, role := range rt.roles {
			if !strings.Contains(op["description"].(string), string(role)) {
				t.Errorf("%s does not say that %s may call it", rt.pattern(), role)
			}
		}
	}
}

// TestDocumentShowsWhatWeSend: one webhook for each built-in type, with the headers, and an example that is one.
func TestDocumentShowsWhatWeSend(t *testing.T) {
	t.Parallel()
	d := theDocument()
	for _, et := range append(domain.BuiltInEventTypes(), domain.OperationalEventTypes()...) {
		place := []string{"webhooks", et.Type, "post", "requestBody", "content", "application/json"}
		example, err := json.Marshal(d.at(append(place, "example")...))
		if err != nil || string(example) == "null" {
			t.Fatalf("%s has no example", et.Type)
		}
		if err := d.check(example, append(place, "schema")...); err != nil {
			t.Errorf("the example of %s is none: %v", et.Type, err)
		}
		wrong := regexp.MustCompile(`"data":\{.*?\}`).ReplaceAll(example, []byte(`"data":{"strange":7}`))
		if err := d.check(wrong, append(place, "schema")...); err == nil {
			t.Errorf("%s takes any data", et.Type)
		}
		var headers []string
		for _, p := range d.at("webhooks", et.Type, "post", "parameters").([]any) {
			headers = append(headers, p.(map[string]any)["name"].(string))
		}
		for _, h := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
			if !slices.Contains(headers, h) {
				t.Errorf("%s has no header %s", et.Type, h)
			}
		}
		if domain.Operational(et.Type) {
			continue // nobody else posts it
		}
		body := []string{"paths", "/v1/events", "post", "requestBody", "content", "application/json"}
		post, err := json.Marshal(d.at(append(body, "examples", et.Type, "value")...))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.check(post, append(body, "schema")...); err != nil {
			t.Errorf("the example post of %s: %v", et.Type, err)
		}
	}
}

// TestDocumentDescribesTheMarkThatIsSent: what a replay's attempt carries though nothing was confirmed, and what a
// retry by force does.
func TestDocumentDescribesTheMarkThatIsSent(t *testing.T) {
	t.Parallel()
	d := theDocument()
	due := domain.Due{Delivery: "dlv_1", Replay: "rpl_1"}
	marks := []string{domain.NewDelivery().Mark(due)}
	again := domain.NewDelivery()
	again.Evolve(&domain.Record{Stream: domain.DeliveryStream("default", "dlv_1"), Tenant: "default",
		Fact: &domain.ResponseReceived{Status: 200}})
	marks = append(marks, again.Mark(domain.Due{Delivery: "dlv_1"}))
	place := []string{"webhooks", "agent.budget_alert", "post", "parameters"}
	i := slices.IndexFunc(d.at(place...).([]any), func(p any) bool {
		return p.(map[string]any)["name"] == domain.HeaderWebhookReplay
	})
	header := d.at(place...).([]any)[i].(map[string]any)
	pattern := regexp.MustCompile(header["schema"].(map[string]any)["pattern"].(string))
	for _, mark := range append(marks, header["example"].(string)) {
		prefix, _, _ := strings.Cut(mark, "_")
		if !pattern.MatchString(mark) || !strings.Contains(header["description"].(string), "("+prefix+"_…)") {
			t.Errorf("%q is sent, and the document has %v", mark, header)
		}
	}
	if due.Replay = ""; domain.NewDelivery().Mark(due) != "" || header["required"] == true {
		t.Error("a first attempt is marked")
	}
}

// TestEveryReferenceResolves in the document.
func TestEveryReferenceResolves(t *testing.T) {
	t.Parallel()
	d := theDocument()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
				t.Errorf("%s is not there", ref)
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(d.raw)
}
