package ingest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// Every body here is refused, with a stable code and a word that the detail must hold, and appends nothing.
func TestBadBodiesAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct{ body, code, names string }{
		{``, "invalid_json", "empty"},
		{`  `, "invalid_json", "empty"},
		{`null`, "invalid_json", "no JSON object"},
		{`[]`, "invalid_json", "no JSON object"},
		{`{`, "invalid_json", ""},
		{`{"event":"a.b","data":{}`, "invalid_json", ""},
		{`{"event":"a.b","data":{}} {}`, "invalid_json", "behind"},
		{`{"event":"a.b","data":{}}x`, "invalid_json", ""},
		{`{"event":"a.b","data":{"a":01}}`, "invalid_json", "/data"},
		{`{"event":"a.b","data":{'a':1}}`, "invalid_json", "/data"},
		{`{"event":"a.b","data":{"a":NaN}}`, "invalid_json", "/data/a"},
		{"{\"event\":\"a.b\",\"data\":{\"a\":\"\xff\"}}", "invalid_json", "UTF-8"},
		{`{"event":"a.b","data":{"a":"\ud800"}}`, "invalid_json", "/data/a"},
		{"\xef\xbb\xbf{}", "invalid_json", ""},
		{`{"event":"a.b","data":{"a":` + strings.Repeat("[", 20000) + `}}`, "invalid_json", ""},
		{`{"event":"a.b","event":"a.b","data":{}}`, "duplicate_field", "/event"},
		{`{"event":"a.b","data":{"a":{"b":1,"b":1}}}`, "duplicate_field", "/data/a/b"},
		{`{"event":"a.b","data":{"a":1,"\u0061":1}}`, "duplicate_field", "/data/a"},
		{`{"event":"a.b","data":{},"extra":1}`, "unknown_field", `"extra"`},
		{`{"Event":"a.b","data":{}}`, "unknown_field", `"Event"`},
		{`{"data":{}}`, "missing_field", `"event"`},
		{`{"event":"cron.completed"}`, "missing_field", `"data"`},
		{`{"event":1,"data":{}}`, "wrong_type", `"event"`},
		{`{"event":null,"data":{}}`, "wrong_type", `"event"`},
		{`{"event":"a.b","data":[]}`, "wrong_type", `"data"`},
		{`{"event":"a.b","data":null}`, "wrong_type", `"data"`},
		{`{"event":"a.b","data":"{}"}`, "wrong_type", `"data"`},
		{`{"id":7,"event":"a.b","data":{}}`, "wrong_type", `"id"`},
		{`{"id":null,"event":"a.b","data":{}}`, "wrong_type", `"id"`},
		{`{"id":"","event":"a.b","data":{}}`, "invalid_id", `"id"`},
		{`{"id":"a.b","event":"cron.completed","data":{}}`, "invalid_id", `"id"`},
		{`{"id":"a/b","event":"cron.completed","data":{}}`, "invalid_id", `"id"`},
		{`{"id":"é","event":"cron.completed","data":{}}`, "invalid_id", `"id"`},
		{`{"id":"` + strings.Repeat("a", 129) + `","event":"cron.completed","data":{}}`, "invalid_id", `"id"`},
		{`{"event":"","data":{}}`, "invalid_event_type", `"event"`},
		{`{"event":"cron.*","data":{}}`, "invalid_event_type", `"event"`},
		{`{"event":"Cron.completed","data":{}}`, "invalid_event_type", `"event"`},
		{`{"event":"a.b","timestamp":"yesterday","data":{}}`, "invalid_timestamp", `"timestamp"`},
		{`{"event":"a.b","timestamp":"2026-03-17","data":{}}`, "invalid_timestamp", `"timestamp"`},
		{`{"event":"a.b","timestamp":"2026-02-30T00:00:00Z","data":{}}`, "invalid_timestamp", `"timestamp"`},
		{`{"event":"cron.completed","timestamp":"0000-01-01T00:00:00Z","data":{}}`, "invalid_timestamp", `"timestamp"`},
		{`{"event":"cron.completed","timestamp":"9999-12-31T23:59:59-01:00","data":{}}`, "invalid_timestamp", `"timestamp"`},
		{`{"event":"a.b","timestamp":1773734400,"data":{}}`, "wrong_type", `"timestamp"`},
		{`{"event":"a.b","subject":{},"data":{}}`, "wrong_type", `"subject"`},
		{`{"event":"cron.completed","subject":"` + strings.Repeat("a", 513) + `","data":{}}`, "invalid_subject", `"subject"`},
		{`{"event":"a.b","source":[],"data":{}}`, "wrong_type", `"source"`},
		{`{"event":"cron.completed","source":"` + strings.Repeat("a", 257) + `","data":{}}`, "invalid_source", `"source"`},
		{`{"event":"a.b","sequence":"1","data":{}}`, "wrong_type", `"sequence"`},
		{`{"event":"a.b","sequence":-1,"data":{}}`, "wrong_type", `"sequence"`},
		{`{"event":"a.b","sequence":1.0,"data":{}}`, "wrong_type", `"sequence"`},
		{`{"event":"a.b","sequence":18446744073709551616,"data":{}}`, "wrong_type", `"sequence"`},
		{`{"event":"no.such","data":{}}`, "unknown_event_type", "no.such"},
		{`{"event":"cron.completed","data":{"jobId":"job_1"}}`, "schema_mismatch", `/data lacks "runId"`},
		{`{"event":"cron.completed","data":{"jobId":7,"runId":"r"}}`, "schema_mismatch", "/data/jobId"},
	} {
		head := f.store.Head()
		p, err := ParsePost([]byte(c.body))
		var r *Receipt
		if err == nil {
			p.Tenant = "acme"
			r, err = f.Post(t.Context(), p)
		}
		refusal := f.refusal(head, r, err, domain.KindInvalid, c.code)
		if !strings.Contains(refusal.Detail, c.names) {
			t.Errorf("%.100s: %q does not name %s", c.body, refusal.Detail, c.names)
		}
	}
}

func TestABodyOverTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	body := func(size int) []byte {
		const head, tail = `{"event":"cron.completed","data":{"jobId":"j","runId":"r","output":"`, `"}}`
		return []byte(head + strings.Repeat("x", size-len(head)-len(tail)) + tail)
	}
	p, err := ParsePost(body(domain.MaxBody))
	if err != nil {
		t.Fatal(err)
	}
	p.Tenant = "acme"
	f.dir.endpoint("ep_all", false, "*")
	f.must(p)
	_, err = ParsePost(body(domain.MaxBody + 1))
	f.refusal(f.store.Head(), nil, err, domain.KindTooLarge, "body_too_large")
	large := post("", "{}")
	large.Data = make([]byte, domain.MaxBody+1)
	f.refused(large, domain.KindTooLarge, "body_too_large")
}

// The largest legal event: a body at the limit, to as many endpoints as a tenant can have.
func TestSemantics_TheLargestLegalEventIsAccepted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dir.mu.Lock()
	for i := range domain.MaxEndpoints {
		e := &domain.Endpoint{}
		id := fmt.Sprintf("ep_%026d", i)
		e.Evolve(&domain.Record{Tenant: "acme", Stream: domain.EndpointStream("acme", id), Revision: 123456,
			Fact: &domain.EndpointRegistered{Config: domain.EndpointConfig{EventTypes: []string{"*"}}}})
		f.dir.endpoints = append(f.dir.endpoints, e)
	}
	f.dir.mu.Unlock()
	f.dir.evolve(&domain.TenantReconfigured{})
	p := post(strings.Repeat("i", domain.MaxIDLength), "")
	p.Subject = strings.Repeat("\x01", MaxSubject) // six bytes each, escaped
	p.Source = strings.Repeat("\x01", MaxSource)
	head := `{"jobId":"j","runId":"r","output":"`
	p.Data = []byte(head + strings.Repeat("x", domain.MaxBody-len(head)-2) + `"}`)
	if r := f.must(p); len(r.Deliveries) != domain.MaxEndpoints {
		t.Errorf("%d deliveries", len(r.Deliveries))
	}
}

// Posts that did not come through ParsePost are looked at as strictly.
func TestBadPostsAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dir.register("any.object", 1, "")
	year0 := time.Time{}.AddDate(-1, 0, 0)
	f.must(post("", completed))
	number := func(n string) func(*Post) {
		return func(p *Post) { p.Data = []byte(`{"jobId":"j","runId":"r","durationMs":` + n + `}`) }
	}
	unchecked := func(data string) func(*Post) {
		return func(p *Post) { p.Event, p.Data = "any.object", []byte(data) }
	}
	for name, c := range map[string]struct {
		change func(*Post)
		code   string
	}{
		"id":      {func(p *Post) { p.ID = "a b" }, "invalid_id"},
		"type":    {func(p *Post) { p.Event = "a..b" }, "invalid_event_type"},
		"subject": {func(p *Post) { p.Subject = "\xff" }, "invalid_subject"},
		"source":  {func(p *Post) { p.Source = "\xff" }, "invalid_source"},
		"key": {func(p *Post) { p.IdempotencyKey = strings.Repeat("k", MaxIdempotencyKey+1) },
			"invalid_idempotency_key"},
		"timestamp":           {func(p *Post) { p.Timestamp = &year0 }, "invalid_timestamp"},
		"no data":             {func(p *Post) { p.Data = nil }, "missing_field"},
		"data":                {func(p *Post) { p.Data = []byte(`{"a":}`) }, "invalid_json"},
		"duplicate":           {func(p *Post) { p.Data = []byte(`{"a":1,"a":1}`) }, "duplicate_field"},
		"array":               {func(p *Post) { p.Data = []byte(`[]`) }, "wrong_type"},
		"two":                 {func(p *Post) { p.Data = []byte(`{}{}`) }, "invalid_json"},
		"space":               {func(p *Post) { p.Data = []byte(` `) }, "invalid_json"},
		"unchecked array":     {unchecked(`[]`), "wrong_type"},
		"unchecked duplicate": {unchecked(`{"a":1,"a":1}`), "duplicate_field"},
		"unchecked two":       {unchecked(`{}}`), "invalid_json"},
		"a huge exponent":     {number("1e999999999"), "number_out_of_range"},
		"a small exponent":    {number("1e-999"), "number_out_of_range"},
		"a long number":       {number("1" + strings.Repeat("0", 600)), "number_out_of_range"},
	} {
		t.Log(name)
		p := post("", completed)
		c.change(&p)
		f.refused(p, domain.KindInvalid, c.code)
	}
	for _, tenant := range []string{"", "none"} {
		p := post("", completed)
		p.Tenant = tenant
		f.refused(p, domain.KindNotFound, "tenant_not_found")
	}
}

func TestTheRefusalOfAnUnknownTypeNamesTheCommandThatRegistersIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := post("id-1", `{"a":1}`)
	p.Event = "order.paid"
	refusal := f.refused(p, domain.KindInvalid, "unknown_event_type")
	if !strings.Contains(refusal.Fix, "hookledger event-type create order.paid") {
		t.Error(refusal.Fix)
	}
	f.dir.evolve(&domain.TenantReconfigured{Settings: domain.TenantSettings{AcceptUnknownTypes: true}})
	f.must(p)
	if got := f.records("id-1")[0].Fact.(*domain.EventReceived); got.SchemaVersion != 0 {
		t.Errorf("an unknown type is not marked: %+v", got)
	}
	f.dir.register("order.paid", 1, `{"type":"object","required":["total"]}`)
	p.ID = "id-2"
	f.refused(p, domain.KindInvalid, "schema_mismatch")
	p.Data = []byte(`{"total":1}`)
	f.must(p)
	if got := f.records("id-2")[0].Fact.(*domain.EventReceived); got.SchemaVersion != 1 {
		t.Errorf("%+v", got)
	}
}

func TestBuiltInExamplesAreAccepted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, et := range domain.BuiltInEventTypes() {
		f.must(Post{Tenant: "acme", Event: et.Type, Data: et.Example})
	}
}

// TestSemantics_NobodyElseSpeaksForHookledger: an operational event is ours, whoever asks.
func TestSemantics_NobodyElseSpeaksForHookledger(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, et := range domain.OperationalEventTypes() {
		for _, who := range []domain.Actor{{Kind: "key", ID: "key_1"}, {Kind: "source", ID: "src_1"}, domain.System("x")} {
			_, err := f.Post(t.Context(), Post{Tenant: "acme", Actor: who, Event: et.Type, Data: et.Example})
			if domain.Code(err) != "reserved_event_type" {
				t.Errorf("%s by %s: %v", et.Type, who.Kind, err)
			}
		}
		post := Post{Tenant: "acme", Actor: domain.FollowUpActor, Event: et.Type, Data: et.Example}
		if _, err := f.Post(t.Context(), post); err != nil {
			t.Error(err)
		}
	}
}

func TestSchemaErrorsNameFieldsAndNeverQuoteValues(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dir.register("t", 1, `{"properties":{
		"enum":{"enum":["a","b"]}, "const":{"const":1}, "format":{"format":"date-time"}, "pattern":{"pattern":"^x$"},
		"min":{"minimum":0.5}, "max":{"maximum":2}, "long":{"maxLength":3}, "short":{"minLength":9},
		"type":{"type":"boolean"}, "items":{"uniqueItems":true}, "closed":{"additionalProperties":false},
		"any":{"anyOf":[{"type":"null"},{"minimum":9}]},
		"none":false, "not":{"not":{}}, "deep":{"items":{"properties":{"a/b~c":{"type":"null"}}}}}}`)
	for field, c := range map[string]struct{ value, want string }{
		"enum":    {`"SECRET"`, `/data/enum must be one of "a", "b"`},
		"const":   {`"SECRET"`, `/data/const must be 1`},
		"format":  {`"SECRET"`, `/data/format is no date-time`},
		"pattern": {`"SECRET"`, `/data/pattern does not match "^x$"`},
		"min":     {`-77777`, `/data/min must be at least 0.5`},
		"max":     {`77777`, `/data/max must be at most 2`},
		"long":    {`"SECRET"`, `/data/long must have at most 3 characters`},
		"short":   {`"SECRET"`, `/data/short must have at least 9 characters`},
		"type":    {`"SECRET"`, `/data/type is string, must be boolean`},
		"items":   {`["SECRET","SECRET"]`, `/data/items has equal items, 0 and 1`},
		"closed":  {`{"name":"SECRET"}`, `/data/closed must not have "name"`},
		"any":     {`7`, `/data/any is number, must be null; /data/any must be at least 9`},
		"none":    {`"SECRET"`, `/data/none must not be there`},
		"not":     {`"SECRET"`, `/data/not breaks the schema`},
		"deep":    {`[1,{"a/b~c":"SECRET"}]`, `/data/deep/1/a~1b~0c is string, must be null`},
	} {
		p := post("", `{"`+field+`":`+c.value+`}`)
		p.Event = "t"
		detail := f.refused(p, domain.KindInvalid, "schema_mismatch").Detail
		if !strings.HasSuffix(detail, ": "+c.want) || strings.Contains(detail, "SECRET") || strings.Contains(detail, "777") {
			t.Errorf("%s: %s, want %s", field, detail, c.want)
		}
	}
	all := post("", `{"enum":0,"const":0,"type":0,"none":0,"not":0,"min":0,"max":9}`)
	all.Event = "t"
	if d := f.refused(all, domain.KindInvalid, "schema_mismatch").Detail; !strings.HasSuffix(d, "; and 2 more") {
		t.Error(d)
	}
}

func TestNumbersAreComparedExactly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dir.register("t", 1, `{"properties":{"n":{"maximum":9007199254740993},"cents":{"multipleOf":0.01},
		"i":{"type":"integer"}}}`)
	for data, ok := range map[string]bool{
		`{"n":9007199254740993}`:   true,
		`{"n":9007199254740993.1}`: false,
		`{"n":9007199254740994}`:   false,
		`{"cents":0.07}`:           true,
		`{"cents":1234567.89}`:     true,
		`{"cents":0.075}`:          false,
		`{"i":1.0}`:                true,
		`{"i":1e3}`:                true,
		`{"i":1.5}`:                false,
	} {
		p := post("", data)
		p.Event = "t"
		if _, err := f.Post(t.Context(), p); (err == nil) != ok {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestCompileSchema(t *testing.T) {
	t.Parallel()
	for schema, code := range map[string]string{
		``:                  "",
		`{}`:                "",
		`{"type":"object"}`: "",
		`{"$ref":"#/$defs/a","$defs":{"a":{"type":"object"}}}`:                       "",
		`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`:      "",
		`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}`: "",
		`{"type":"objekt"}`:                           "invalid_schema",
		`{"pattern":"("}`:                             "invalid_schema",
		`{"$ref":"file:///etc/passwd"}`:               "invalid_schema",
		`{"$ref":"https://example.com/schema.json"}`:  "invalid_schema",
		`{"$ref":"other.json"}`:                       "invalid_schema",
		`{"$schema":"https://example.com/meta.json"}`: "invalid_schema",
		`true`:                   "wrong_type",
		`[]`:                     "wrong_type",
		`{`:                      "invalid_json",
		`{"a":1,"a":2}`:          "duplicate_field",
		`{"minimum":1e99999999}`: "number_out_of_range",
		`{"description":"` + strings.Repeat("x", MaxSchema) + `"}`: "schema_too_large",
	} {
		err := CompileSchema([]byte(schema))
		if domain.Code(err) != code || (err == nil) != (code == "") {
			t.Errorf("%.60s: %v, want %q", schema, err, code)
		}
		var refusal *domain.Error
		if err != nil && (!errors.As(err, &refusal) || refusal.Fix == "") {
			t.Errorf("%.60s: no fix", schema)
		}
	}
}
