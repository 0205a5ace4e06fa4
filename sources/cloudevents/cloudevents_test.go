package cloudevents

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hookledger/domain"
)

const uuid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func binaryHeader(more ...string) http.Header {
	return header(append([]string{"Content-Type", "application/json", "ce-specversion", "1.0", "ce-id", uuid,
		"ce-source", "/fleet", "ce-type", "order.paid"}, more...)...)
}

var structuredHeader = header("Content-Type", "application/cloudevents+json; charset=utf-8")

func TestBothModesGiveTheSamePost(t *testing.T) {
	t.Parallel()
	const data = `{ "a" : 1.50, "b":[] }`
	at := time.Date(2026, 3, 17, 7, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		header http.Header
		body   string
	}{
		"binary": {binaryHeader("ce-time", "2026-03-17T08:00:00+01:00", "ce-subject", "Z%C3%BCrich%20%25", "ce-sequence", "7",
			"ce-traceparent", "00-0af7"), data},
		"structured": {structuredHeader, `{"specversion":"1.0","id":"` + uuid + `","source":"/fleet","type":"order.paid",` +
			`"time":"2026-03-17T08:00:00+01:00","subject":"Zürich %","sequence":"7","data":` + data +
			`,"datacontenttype":"application/json","ext":true}`},
		"structured, base64": {structuredHeader, `{"specversion":"1.0","id":"` + uuid + `","source":"/fleet",` +
			`"type":"order.paid","time":"2026-03-17T07:00:00Z","subject":"Zürich %","sequence":7,"data_base64":"` +
			base64.StdEncoding.EncodeToString([]byte(data)) + `"}`},
	} {
		if !Is(c.header) {
			t.Errorf("%s: it is not known as one", name)
		}
		p, err := Post(c.header, []byte(c.body), "acme")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.ID != uuid || p.Event != "order.paid" || p.Source != "/fleet" || p.Subject != "Zürich %" ||
			p.Timestamp == nil || !p.Timestamp.Equal(at) || p.Sequence == nil || *p.Sequence != 7 || string(p.Data) != data {
			t.Errorf("%s: %+v %s", name, p, p.Data)
		}
	}
	if Is(header("Content-Type", "application/json")) {
		t.Error("a plain post is taken for a CloudEvent")
	}
}

func TestBadCloudEventsNameTheAttribute(t *testing.T) {
	t.Parallel()
	with := func(name, value string) http.Header {
		h := binaryHeader()
		h.Set(name, value)
		return h
	}
	without := func(name string) http.Header {
		h := binaryHeader()
		h.Del(name)
		return h
	}
	for _, c := range []struct {
		header http.Header
		body   string
		want   string
	}{
		{without("ce-specversion"), "{}", "specversion"},
		{with("ce-specversion", "0.3"), "{}", "specversion"},
		{without("ce-id"), "{}", "id"},
		{without("ce-source"), "{}", "source"},
		{without("ce-type"), "{}", "type"},
		{with("ce-type", "Order Paid"), "{}", "type"},
		{with("ce-time", "noon"), "{}", "time"},
		{with("ce-subject", "%zz"), "{}", "subject"},
		{binaryHeader("ce-subject", "a", "ce-subject", "b"), "{}", "subject"},
		{with("Content-Type", "text/plain"), "{}", "datacontenttype"},
		{binaryHeader(), "", "data"},
		{header("Content-Type", "application/cloudevents-batch+json"), "[]", "batch"},
		{header("Content-Type", "application/cloudevents+avro"), "", "content type"},
		{structuredHeader, `{"specversion":"1.0","id":"1","source":"s","type":"a.b"}`, "data"},
		{structuredHeader, `{"specversion":"1.0","id":{},"source":"s","type":"a.b","data":{}}`, "id"},
		{structuredHeader, `{"specversion":"1.0","data_base64":7}`, "data_base64"},
		{structuredHeader, `{"id":"1","id":"2"}`, "twice"},
		{structuredHeader, `<html>`, "JSON"},
		{structuredHeader, ``, "empty"},
		{structuredHeader, strings.Repeat(" ", domain.MaxBody+1), "bytes"},
	} {
		_, err := Post(c.header, []byte(c.body), "acme")
		var refusal *domain.Error
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Detail, c.want) && !strings.Contains(refusal.Fix, c.want) ||
			refusal.Fix == "" {
			t.Errorf("%v %.30s: want %q: %v", c.header, c.body, c.want, err)
		}
	}
}

// TestIDsOfPairs: an id that is unique by itself stays; any other is derived from the pair, and always fits.
func TestIDsOfPairs(t *testing.T) {
	t.Parallel()
	for _, id := range []string{uuid, "01JPHK9Q0BX6V3T4ZJ8N2M5RWC", "evt_01JPHK9Q0BX6V3T4ZJ8N2M5RWC"} {
		if got := EventID("acme", "/any", id); got != id {
			t.Errorf("%s became %s", id, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[0-9]{1,4}`))
		a, b := [2]string{text.Draw(t, "source"), text.Draw(t, "id")}, [2]string{text.Draw(t, "source"), text.Draw(t, "id")}
		x, y := EventID("acme", a[0], a[1]), EventID("acme", b[0], b[1])
		if !domain.ValidEventID(x) || !domain.ValidEventID(y) || (a == b) != (x == y) || EventID("acme", a[0], a[1]) != x {
			t.Fatalf("%q %s, %q %s", a, x, b, y)
		}
		if EventID("other", a[0], a[1]) == x {
			t.Fatal("two tenants share an id")
		}
	})
}

func FuzzStructured(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"s","type":"a.b","data":{}}`))
	f.Add([]byte(`{"specversion":1.0,"data_base64":"e30="}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := Post(structuredHeader, body, "acme")
		if err == nil && (!domain.ValidEventID(p.ID) || !domain.ValidEventType(p.Event) || len(p.Data) == 0) {
			t.Fatalf("%+v", p)
		}
	})
}
