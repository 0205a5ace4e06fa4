package ledger

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// TestTable_HasEveryFact: every type of domain that is a Fact has a row, a sample and therefore a golden file; Unknown
// has none, since it stands for what is not in the table.
func TestTable_HasEveryFact(t *testing.T) {
	t.Parallel()
	declared := map[string]bool{}
	files, _ := filepath.Glob("../domain/*.go")
	for _, path := range files {
		f, err := goparser.ParseFile(token.NewFileSet(), path, nil, goparser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if m, ok := d.(*ast.FuncDecl); ok && m.Recv != nil && m.Name.Name == "fact" {
				declared[m.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name] = true
			}
		}
	}
	delete(declared, "Unknown")
	if len(declared) < 24 {
		t.Fatalf("found only %d facts in domain", len(declared))
	}
	sampled := map[string]bool{}
	for _, f := range samples() {
		sampled[f.RecordType()] = true
	}
	for name := range declared {
		if types[name] == nil {
			t.Errorf("%s is not in the table of types", name)
		}
		if !sampled[name] {
			t.Errorf("%s has no sample", name)
		}
	}
	for name := range types {
		if !declared[name] {
			t.Errorf("the table has %s, which domain does not declare under that name", name)
		}
	}
}

// TestTable_VersionsHaveNoGap: the versions of a type go from 1 to the one that is written, and only that is written.
func TestTable_VersionsHaveNoGap(t *testing.T) {
	t.Parallel()
	for name, known := range types {
		for i, v := range slices.Sorted(maps.Keys(known)) {
			if v != i+1 {
				t.Errorf("%s has versions %v", name, slices.Sorted(maps.Keys(known)))
			}
			if writes := known[v].encode != nil; writes != (v == len(known)) {
				t.Errorf("%s version %d of %d: written is %v", name, v, len(known), writes)
			}
		}
	}
}

func TestUnknownTypeAndNewerVersionAreCarriedWhole(t *testing.T) {
	t.Parallel()
	for _, u := range []*domain.Unknown{
		{Type: "MoonLanded", Version: 1, Data: []byte(`{"crew":["A","B"], "at": 1.50}`)},
		{Type: "EventReceived", Version: 2, Data: []byte(`{"id":"new shape"}`)},
		{Type: "KeyRevoked", Version: 9, Data: []byte(`null`)},
	} {
		header, body := encode(t, sampleRecord(u))
		rec, err := Decode(header, body)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := rec.Fact.(*domain.Unknown)
		if !ok || got.Type != u.Type || got.Version != u.Version || string(got.Data) != string(u.Data) {
			t.Fatalf("decoded %#v", rec.Fact)
		}
		header2, body2 := encode(t, rec)
		if string(header2) != string(header) || string(body2) != string(body) {
			t.Fatalf("%s was not carried whole", u.Type)
		}
	}
}

// A row of an older version is an upcaster: what it reads is today's fact, and it is never written.
func TestUpcaster_OlderVersionGivesTheFactOfToday(t *testing.T) {
	t.Parallel()
	today := handwritten(writeAttemptInterrupted, readAttemptInterrupted)
	today.version = 2
	old := recordType{name: today.name, version: 1, decode: func(data []byte) (domain.Fact, error) {
		return &domain.AttemptInterrupted{Attempt: strings.Trim(string(data), `"`), Reason: domain.InterruptCrash}, nil
	}}
	known := table(today, old)["AttemptInterrupted"]
	f, err := known[1].decode([]byte(`"att_1"`))
	if err != nil {
		t.Fatal(err)
	}
	data, err := known[2].encode(nil, f)
	if err != nil || string(data) != `{"attempt":"att_1","reason":"crash"}` {
		t.Fatalf("%s %v", data, err)
	}
}

func TestDecode_RefusesWhatIsNotCanonical(t *testing.T) {
	t.Parallel()
	header, body := encode(t, sampleRecord(&domain.AttemptInterrupted{Attempt: "att_1", Reason: "crash"}))
	started, startedBody := encode(t, deliverySamples()[1])
	endpoint, endpointBody := encode(t, sampleRecord(&domain.EndpointRegistered{Config: configSample()}))
	for name, c := range map[string]struct {
		header, body string
		old, new     string
	}{
		"space":            {old: `"type":`, new: `"type": `},
		"other order":      {old: `"attempt":"att_1","reason":"crash"`, new: `"reason":"crash","attempt":"att_1"`},
		"unknown field":    {old: `"reason":"crash"`, new: `"reason":"crash","more":1`},
		"missing field":    {old: `,"reason":"crash"`},
		"needless escape":  {old: `"att_1"`, new: `"\u0061tt_1"`},
		"control byte":     {old: `"att_1"`, new: "\"att\n1\""},
		"bad UTF-8":        {old: `"att_1"`, new: "\"att\xff1\""},
		"open string":      {old: `"crash"}}`, new: `"crash`},
		"trailing bytes":   {old: `"crash"}}`, new: `"crash"}} `},
		"lower-case id":    {old: `"id":"01JPHK9Q0BX6V3T4ZJ8N2M5RWC"`, new: `"id":"01jphk9q0bx6v3t4zj8n2m5rwc"`},
		"overflowing id":   {old: `"id":"01JPHK9Q0BX6V3T4ZJ8N2M5RWC"`, new: `"id":"81JPHK9Q0BX6V3T4ZJ8N2M5RWC"`},
		"no such version":  {old: `"version":1`, new: `"version":0`},
		"negative version": {old: `"version":1`, new: `"version":-1`},
		"leading zero":     {old: `"revision":4`, new: `"revision":04`},
		"minus zero":       {old: `"revision":4`, new: `"revision":-0`},
		"too large":        {old: `"revision":4`, new: `"revision":9223372036854775808`},
		"short time":       {old: `.123456789Z`, new: `.123Z`},
		"other zone":       {old: `44.123456789Z`, new: `44.1234+01:00`},
		"no such day":      {old: `2026-03-17`, new: `2026-02-30`},
		"zero causation":   {old: causeID.String(), new: strings.Repeat("0", 26)},
		"no correlation":   {old: `"correlation":"` + eventID + `"`, new: `"correlation":""`},
		"sloppy duration":  {string(started), string(startedBody), `"timeout":"20s"`, `"timeout":"0m20s"`},
		"no duration":      {string(started), string(startedBody), `"timeout":"20s"`, `"timeout":"soon"`},
		"said to be false": {string(started), string(startedBody), `,"method"`, `,"forced":false,"method"`},
		"open array":       {string(started), string(startedBody), `}],"timeout"`, `},"timeout"`},
		"reflected: extra": {string(endpoint), string(endpointBody), `"kind":"webhook"`, `"kind":"webhook","more":1`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.header == "" {
				c.header, c.body = string(header), string(body)
			}
			h, b := strings.Replace(c.header, c.old, c.new, 1), strings.Replace(c.body, c.old, c.new, 1)
			if h == c.header && b == c.body {
				t.Fatalf("%q is not there", c.old)
			}
			if rec, err := Decode([]byte(h), []byte(b)); err == nil {
				t.Fatalf("decoded %+v", rec.Fact)
			}
		})
	}
}

func TestDecode_BodyOfAnotherType(t *testing.T) {
	t.Parallel()
	header, _ := encode(t, sampleRecord(&domain.DeliverySucceeded{Attempt: "att_1", Attempts: 1}))
	_, body := encode(t, sampleRecord(&domain.AttemptInterrupted{Attempt: "att_1", Reason: "crash"}))
	_, err := Decode(header, body)
	if err == nil || !strings.Contains(err.Error(), "DeliverySucceeded") ||
		!strings.Contains(err.Error(), recordID.String()) {
		t.Fatalf("the error names type and record: %v", err)
	}
}

func TestEncode_RefusesWhatHasNoEncoding(t *testing.T) {
	t.Parallel()
	late := sampleRecord(&domain.RetryScheduled{})
	late.RecordedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	year10000 := late.RecordedAt
	for name, r := range map[string]*domain.Record{
		"recorded in the year 10000": late,
		"by hand, a year before 0":   sampleRecord(&domain.RetryScheduled{DueAt: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}),
		"by its tags, the same":      sampleRecord(&domain.KeyIssued{ExpiresAt: year10000}),
		"by hand, no number":         sampleRecord(&domain.DeliveryScheduled{Policy: domain.RetryPolicy{Jitter: math.NaN()}}),
		"by its tags, infinite": sampleRecord(&domain.EndpointRegistered{
			Config: domain.EndpointConfig{RateLimit: math.Inf(1)}}),
		"schema that is no JSON": sampleRecord(&domain.EventTypeRegistered{Schema: []byte("{")}),
		"data that is no JSON":   sampleRecord(&domain.Unknown{Type: "X", Version: 1, Data: []byte("{")}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := AppendBody([]byte("before"), r)
			if err == nil || string(b) != "before" {
				t.Fatalf("%q, %v", b, err)
			}
		})
	}
}

func TestEncode_MendsStringsThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	for _, f := range []domain.Fact{
		&domain.EndpointDisabled{Reason: "a\xffb"},
		&domain.AttemptInterrupted{Reason: "a\xffb"},
	} {
		_, body := encode(t, sampleRecord(f))
		if !strings.Contains(string(body), "\"a\ufffdb\"") {
			t.Errorf("%s", body)
		}
	}
}

// TestSemantics_TheEncodingHasNoPosition: the same record has the same bytes wherever it stands.
func TestSemantics_TheEncodingHasNoPosition(t *testing.T) {
	t.Parallel()
	r := sampleRecord(&domain.RetryRequested{})
	header, body := encode(t, r)
	r.Position = 77
	header2, body2 := encode(t, r)
	if string(header) != string(header2) || string(body) != string(body2) {
		t.Fatal("the position got into the encoding")
	}
}

// Times in other zones and durations of every kind are written in their one form.
func TestEncode_OneForm(t *testing.T) {
	t.Parallel()
	r := sampleRecord(&domain.RetryScheduled{N: 1, DueAt: noon.In(time.FixedZone("CET", 3600))})
	_, body := encode(t, r)
	if !strings.Contains(string(body), `"due_at":"2026-03-17T12:00:44.123456789Z"`) {
		t.Errorf("%s", body)
	}
	for _, d := range []time.Duration{0, 1, -time.Second, time.Second, 60 * time.Second, 61 * time.Second, time.Hour,
		time.Hour + time.Second, 25*time.Hour + 30*time.Minute, 1500 * time.Millisecond, math.MaxInt64, math.MinInt64} {
		if got, want := string(appendDuration(nil, domain.Duration(d))), domain.Duration(d).String(); got != want {
			t.Errorf("wrote %s for %s", got, want)
		}
	}
}

// What every delivery writes is encoded without an allocation.
func TestEncode_HotTypesAllocateNothing(t *testing.T) {
	buf := make([]byte, 0, 8192)
	for _, f := range samples() {
		switch f := f.(type) {
		case *domain.RetryScheduled:
			f.Backoff = domain.Duration(5 * time.Second) // fractions of a second take the slow path
		case *domain.ResponseReceived:
			f.TLS.Issuer = "CN=Example" // and so does what is not ASCII
		}
		if isReflected(f) {
			continue
		}
		r := sampleRecord(f)
		if n := testing.AllocsPerRun(50, func() { _, _ = AppendBody(AppendHeader(buf, r), r) }); n != 0 {
			t.Errorf("%s: %v allocations", f.RecordType(), n)
		}
	}
}
