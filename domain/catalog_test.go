package domain_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"hookledger/domain"
)

// catalogue is the published list of AgenFleet's six types, and of our own four: their fields, those that are required
// first, up to the bar.
var catalogue = map[string]string{
	"endpoint.failing":       "endpointId recordId | failures since error",
	"endpoint.recovered":     "endpointId recordId | failures since error",
	"endpoint.disabled":      "endpointId recordId reason | failures since",
	"delivery.exhausted":     "deliveryId endpointId eventId event recordId | attempts reason error",
	"cron.completed":         "jobId runId | agentId status startedAt durationMs output",
	"cron.delivered":         "jobId runId channel | attempts deliveredAt deliveryId",
	"cron.failed":            "jobId runId channel | attempts error deliveryId",
	"agent.status_changed":   "agentId from to | reason observedBetween",
	"agent.budget_alert":     "agentId budget spent threshold period unit | currency periodStart",
	"agent.budget_exhausted": "agentId budget spent period unit | currency periodStart",
}

func builtInTypes() []domain.EventType {
	return append(domain.BuiltInEventTypes(), domain.OperationalEventTypes()...)
}

func compile(t *testing.T, et domain.EventType) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(et.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(et.Type, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(et.Type)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t *testing.T, raw string) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// with is the example with one field set, or left out where raw is empty.
func with(t *testing.T, et domain.EventType, field, raw string) any {
	t.Helper()
	data := parse(t, string(et.Example)).(map[string]any)
	delete(data, field)
	if raw != "" {
		data[field] = parse(t, raw)
	}
	return data
}

func TestCatalogue_HasThemAll(t *testing.T) {
	t.Parallel()
	types := builtInTypes()
	if len(types) != len(catalogue) {
		t.Fatalf("%d types", len(types))
	}
	for _, et := range types {
		var schema struct {
			Properties map[string]json.RawMessage
			Required   []string
		}
		if err := json.Unmarshal(et.Schema, &schema); err != nil {
			t.Fatal(err)
		}
		required, optional, _ := strings.Cut(catalogue[et.Type], " | ")
		all := append(strings.Fields(required), strings.Fields(optional)...)
		slices.Sort(all)
		if got := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(got, all) {
			t.Errorf("%s has the fields %v, want %v", et.Type, got, all)
		}
		if !slices.Equal(schema.Required, strings.Fields(required)) {
			t.Errorf("%s requires %v, want %v", et.Type, schema.Required, required)
		}
		if !et.BuiltIn || et.Version != 1 || et.Description == "" || !domain.ValidEventType(et.Type) {
			t.Errorf("%+v", et)
		}
	}
}

func TestCatalogue_TheirExamplesAreValid(t *testing.T) {
	t.Parallel()
	for _, et := range builtInTypes() {
		if err := compile(t, et).Validate(parse(t, string(et.Example))); err != nil {
			t.Errorf("%s: %v", et.Type, err)
		}
	}
}

func TestCatalogue_RequiredFieldsAreRequiredAndUnknownOnesKept(t *testing.T) {
	t.Parallel()
	for _, et := range builtInTypes() {
		schema := compile(t, et)
		required, optional, _ := strings.Cut(catalogue[et.Type], " | ")
		for field := range strings.FieldsSeq(required) {
			if schema.Validate(with(t, et, field, "")) == nil {
				t.Errorf("%s without %s is taken", et.Type, field)
			}
		}
		for field := range strings.FieldsSeq(optional) {
			if err := schema.Validate(with(t, et, field, "")); err != nil && field != "currency" {
				t.Errorf("%s without %s: %v", et.Type, field, err)
			}
		}
		if err := schema.Validate(with(t, et, "somethingNew", `{"a":[1]}`)); err != nil {
			t.Errorf("%s: a field that we do not know is refused: %v", et.Type, err)
		}
		for _, no := range []string{"null", "[]", `"text"`, "7", "true"} {
			if schema.Validate(parse(t, no)) == nil {
				t.Errorf("%s: data may be %s", et.Type, no)
			}
		}
	}
}

// A known field of the wrong type is refused, whichever it is.
func TestCatalogue_WrongTypesAreRefused(t *testing.T) {
	t.Parallel()
	text := []string{"7", "null", "true", "{}", "[]"}
	id := append([]string{`""`}, text...)
	moment := append([]string{`"yesterday"`, `"2026-03-17"`}, text...)
	choice := append([]string{`"other"`, `""`}, text...)
	count := []string{`"3"`, "-1", "1.5", "null", "true", "{}"}
	amount := []string{`"3"`, "-0.01", "null", "true", "[]"}
	wrong := map[string][]string{
		"jobId": id, "runId": id, "agentId": id, "deliveryId": id, "channel": choice, "status": choice, "from": choice,
		"to": choice, "period": choice, "unit": choice, "startedAt": moment, "deliveredAt": moment, "periodStart": moment,
		"durationMs": {`"3"`, "-1", "null", "true"}, "attempts": count, "budget": amount, "spent": amount,
		"threshold": append([]string{"1.01"}, amount...), "currency": append([]string{`"eur"`, `"EURO"`}, text...),
		"reason": text, "error": text, "endpointId": id, "recordId": id, "eventId": id, "event": id, "failures": count,
		"since":           moment,
		"observedBetween": {`"2026-03-17T08:00:44Z"`, "[]", `["2026-03-17T08:00:44Z"]`, `["a","b"]`, "[1,2]", "null"},
	}
	for _, et := range builtInTypes() {
		schema := compile(t, et)
		for field := range strings.FieldsSeq(strings.Replace(catalogue[et.Type], "|", "", 1)) {
			values, ok := wrong[field]
			if !ok && field != "output" { // which may be anything that it may be
				t.Errorf("no wrong values for %s", field)
			}
			for _, raw := range values {
				if schema.Validate(with(t, et, field, raw)) == nil {
					t.Errorf("%s takes %s: %s", et.Type, field, raw)
				}
			}
		}
	}
}

func TestCatalogue_MoneyNeedsItsCurrency(t *testing.T) {
	t.Parallel()
	for _, et := range builtInTypes() {
		if !strings.HasPrefix(et.Type, "agent.budget_") {
			continue
		}
		schema := compile(t, et)
		data := with(t, et, "unit", `"money"`).(map[string]any)
		delete(data, "currency")
		if schema.Validate(data) == nil {
			t.Errorf("%s: money without a currency", et.Type)
		}
		data["currency"] = "EUR"
		data["spent"] = parse(t, "12345678901234567890.123456789")
		if err := schema.Validate(data); err != nil {
			t.Errorf("%s: %v", et.Type, err)
		}
	}
}

func TestEnvelope_KeepsTheOrderAndTheBytesOfData(t *testing.T) {
	t.Parallel()
	e := domain.Envelope{ID: "evt_1", Event: "order.paid", Timestamp: start.Add(500_000_000),
		Data: json.RawMessage(`{ "b":1.50,"a":"é" }`)}
	const want = `{"id":"evt_1","event":"order.paid","timestamp":"2026-03-17T08:00:44.5Z","data":{ "b":1.50,"a":"é" }}`
	if got := string(e.Bytes()); got != want {
		t.Fatalf("got %s", got)
	}
	var again domain.Envelope
	if err := json.Unmarshal(e.Bytes(), &again); err != nil || !again.Timestamp.Equal(e.Timestamp) || again.ID != e.ID {
		t.Fatalf("%+v, %v", again, err)
	}
}
