package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"hookledger/domain"
)

func TestParsePost(t *testing.T) {
	t.Parallel()
	body := []byte(" {\"data\" : { \"b\": 1.10,\n\t\"a\":\"\\u00e9\" } , \"id\":\"id-1\",\"event\":\"a.b\"," +
		"\"timestamp\":\"2026-03-17T09:00:00.5+01:00\",\"subject\":\"\\u0075ser\",\"source\":\"s\"," +
		"\"sequence\":18446744073709551615}\n")
	got, err := ParsePost(body)
	if err != nil {
		t.Fatal(err)
	}
	at, seq := time.Date(2026, 3, 17, 8, 0, 0, 5e8, time.UTC), uint64(18446744073709551615)
	want := Post{ID: "id-1", Event: "a.b", Timestamp: &at, Subject: "user", Source: "s", Sequence: &seq,
		Data: []byte("{ \"b\": 1.10,\n\t\"a\":\"\\u00e9\" }")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if cap(got.Data) != len(got.Data) {
		t.Error("an append to data would write into the body")
	}
}

// What is accepted is one strict JSON object whose data stands in it byte for byte, and whose envelope is JSON again;
// what is not is refused with a fix.
func FuzzParsePost(f *testing.F) {
	for _, seed := range []string{
		`{"event":"a.b","data":{}}`,
		`{"id":"id-1","event":"cron.completed","timestamp":"2026-03-17T08:00:00Z","subject":"s","source":"x","sequence":1,` +
			`"data":{"a":[1,2.50,{"b":null}],"c":"\u00e9"}}`,
		`{"event":"a.b","data":{"a":1,"a":2}}`,
		`{"event":"a.b","data":[]}`,
		`{"event":"a.b","data":{}} x`,
		"{\"event\":\"a.b\",\"data\":{\"\xff\":1}}",
		`{"event":"a.b","data":{"n":1e999}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		p, err := ParsePost(body)
		if !bytes.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			var refusal *domain.Error
			if !errors.As(err, &refusal) || refusal.Code == "" || refusal.Fix == "" || refusal.Detail == "" {
				t.Fatalf("no refusal: %v", err)
			}
			return
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatalf("accepted what is not JSON: %v", err)
		}
		if !bytes.Equal(bytes.TrimSpace(fields["data"]), p.Data) {
			t.Fatalf("data %q, was %q", p.Data, fields["data"])
		}
		// The same data is refused or taken by the checks of Post, which never panic on it.
		if err := checkObject(p.Data); err != nil {
			t.Fatalf("Post refuses what ParsePost took: %v", err)
		}
		if p.check("evt_1") != nil {
			return
		}
		e := domain.Envelope{ID: "evt_1", Event: p.Event, Data: p.Data}
		content := appendContent(nil, p.Subject, e.Bytes())
		back, err := parseContent(content)
		if err != nil || !bytes.Equal(back.Body, e.Bytes()) || back.Subject != p.Subject || !json.Valid(content) {
			t.Fatalf("content %q: %v", content, err)
		}
	})
}

// Data that a schema looks at is decoded to what encoding/json makes of it.
func FuzzParseValue(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.50,{"b":null}],"c":"\u00e9","d":true}`, `1e400`, `[[[[]]]]`,
		`{"a":1,"a":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseValue(text)
		if err != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%#v, want %#v, %v", got, want, err)
		}
	})
}
