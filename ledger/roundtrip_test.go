package ledger

import (
	stdjson "encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"hookledger/domain"
)

// TestRoundTrip_EveryTypeByHandEqualsItsTags: given any fact, what the table writes is what the json tags of the fact
// say, it is read back to the same fact, and that is written to the same bytes.
func TestRoundTrip_EveryTypeByHandEqualsItsTags(t *testing.T) {
	t.Parallel()
	for _, sample := range samples() {
		t.Run(sample.RecordType(), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				fact := reflect.New(reflect.TypeOf(sample).Elem())
				fill(t, fact.Elem())
				rec := recordGen(t, fact.Interface().(domain.Fact))
				body, err := AppendBody(nil, rec)
				if err != nil {
					t.Fatal(err)
				}
				header := AppendHeader(nil, rec)
				bySchema := tagged(t, rec.Fact)
				if !strings.HasSuffix(string(body), `,"data":`+bySchema+`}`) {
					t.Fatalf("by hand and by the tags:\n%s\n%s", body, bySchema)
				}
				got, err := Decode(header, body)
				if err != nil {
					t.Fatalf("%v\n%s\n%s", err, header, body)
				}
				if again := tagged(t, got.Fact); again != bySchema {
					t.Fatalf("read back\n%s\nwrote\n%s", again, bySchema)
				}
				inParts(t, rec, string(header), string(body))
				got.Fact = rec.Fact
				if !reflect.DeepEqual(got, rec) {
					t.Fatalf("read back\n%+v\nwrote\n%+v", got, rec)
				}
			})
		})
	}
}

// inParts checks that the record, written in parts and read back, has the same encoding.
func inParts(t *rapid.T, rec *domain.Record, header, body string) {
	data, err := AppendData(nil, rec.Fact)
	if err != nil {
		t.Fatal(err)
	}
	metadata, err := AppendMetadata(nil, rec)
	if err != nil {
		t.Fatal(err)
	}
	got := &domain.Record{ID: rec.ID, Stream: rec.Stream, Revision: rec.Revision}
	if err := DecodeParts(got, rec.Fact.RecordType(), metadata, data); err != nil {
		t.Fatalf("%v\n%s\n%s", err, metadata, data)
	}
	again, err := AppendBody(nil, got)
	if err != nil || string(AppendHeader(nil, got)) != header || string(again) != body {
		t.Fatalf("in parts %s %s\nread back %s %s (%v)\nwrote %s %s", metadata, data, AppendHeader(nil, got), again, err,
			header, body)
	}
}

func tagged(t *rapid.T, f domain.Fact) string {
	b, err := json.Marshal(f, canonical)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func recordGen(t *rapid.T, f domain.Fact) *domain.Record {
	r := &domain.Record{Fact: f}
	for _, v := range []any{&r.ID, &r.Stream, &r.Tenant, &r.Actor, &r.Correlation, &r.Causation, &r.RecordedAt,
		&r.Revision} {
		fill(t, reflect.ValueOf(v).Elem())
	}
	return r
}

// text makes its generators anew each time: rapid's are not safe to share between tests that run in parallel.
func text() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[A-Za-z0-9_.:/-]{0,40}`),
		rapid.StringN(0, 20, -1),
		rapid.SampledFrom([]string{"", "POST", "system", "a\"b\\c", "<&>", "\u2028\u2029", "\x00\x1f\x7f", "\ufffd", "😀",
			"ü"}),
	)
}

// fill gives any value of a fact's field; a new fact with fields of these kinds is covered without further work.
func fill(t *rapid.T, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		sec := rapid.Int64Range(-62167219200, 253402300799).Draw(t, "seconds")
		*p = time.Unix(sec, rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
		return
	case *ulid.ULID:
		copy(p[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "ulid"))
		return
	case *stdjson.RawMessage:
		*p = stdjson.RawMessage(rapid.SampledFrom([]string{`{}`, `{"a":[1,2.50,"é"]}`, `true`}).Draw(t, "json"))
		return
	case *domain.Duration:
		unit := rapid.SampledFrom([]int64{1, 1e3, 1e6, 1e9, 60e9, 3600e9}).Draw(t, "unit")
		*p = domain.Duration(rapid.OneOf(rapid.Int64(), rapid.Map(rapid.Int64Range(-5, 5000),
			func(n int64) int64 { return n * unit })).Draw(t, "duration"))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text().Draw(t, "string"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2, 600), rapid.Just(int64(math.MinInt64))).Draw(t, "int"))
	case reflect.Uint64:
		v.SetUint(rapid.OneOf(rapid.Uint64(), rapid.Just(uint64(0))).Draw(t, "uint"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Byte().Draw(t, "byte")))
	case reflect.Float64:
		v.SetFloat(rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 1)).Draw(t, "float"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "present") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 4).Draw(t, "length")
		for range n {
			item := reflect.New(v.Type().Elem()).Elem()
			fill(t, item)
			v.Set(reflect.Append(v, item))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range rapid.SliceOfN(text(), 0, 3).Draw(t, "keys") {
			item := reflect.New(v.Type().Elem()).Elem()
			fill(t, item)
			v.SetMapIndex(reflect.ValueOf(key), item)
		}
	default:
		t.Fatalf("fill knows no %s: teach it", v.Type())
	}
}

// FuzzDecode: nothing makes Decode panic, and what it takes is written to a stable encoding: to the same bytes where
// the data is written by hand.
func FuzzDecode(f *testing.F) {
	for _, s := range samples() {
		header, body := encode(f, sampleRecord(s))
		f.Add(header, body)
	}
	for _, r := range deliverySamples() {
		header, body := encode(f, r)
		f.Add(header, body)
	}
	header, body := encode(f, sampleRecord(&domain.Unknown{Type: "MoonLanded", Version: 3, Data: []byte(`{ "a": [] }`)}))
	f.Add(header, body)
	f.Fuzz(func(t *testing.T, header, body []byte) {
		rec, err := Decode(header, body)
		if err != nil {
			return
		}
		header2, body2 := encode(t, rec)
		if string(header2) != string(header) {
			t.Fatalf("header\n got %q\nwant %q", header2, header)
		}
		if !isReflected(rec.Fact) && string(body2) != string(body) {
			t.Fatalf("body\n got %q\nwant %q", body2, body)
		}
		rec2, err := Decode(header2, body2)
		if err != nil {
			t.Fatalf("what was written can't be read: %v\n%q", err, body2)
		}
		if _, body3 := encode(t, rec2); string(body3) != string(body2) {
			t.Fatalf("not stable\n%q\n%q", body3, body2)
		}
	})
}

func isReflected(f domain.Fact) bool {
	switch f.(type) {
	case *domain.EventReceived, *domain.EventRouted, *domain.DeliveryScheduled, *domain.AttemptStarted,
		*domain.RequestSigned, *domain.ResponseReceived, *domain.AttemptFailed, *domain.RetryScheduled,
		*domain.DeliverySucceeded, *domain.AttemptInterrupted, *domain.Unknown:
		return false
	}
	return true
}
