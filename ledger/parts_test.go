package ledger

import (
	"strings"
	"testing"

	"hookledger/domain"
)

func TestParts_AreWhatAnEventDatabaseExpects(t *testing.T) {
	t.Parallel()
	rec := sampleRecord(&domain.EndpointDisabled{Reason: "manual"})
	rec.Correlation = "evt_1"
	metadata, err := AppendMetadata(nil, rec)
	if err != nil {
		t.Fatal(err)
	}
	data, err := AppendData(nil, rec.Fact)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"tenant":"default","time":"2026-03-17T12:00:44.123456789Z",` +
		`"actor":{"kind":"system","id":"delivery"},` +
		`"$correlationId":"evt_1","$causationId":"0195a334-dc00-0000-0000-00000000000a"}`
	if string(metadata) != want {
		t.Errorf("metadata\n%s\nwant\n%s", metadata, want)
	}
	if !strings.HasPrefix(string(data), `{"reason":"manual"`) {
		t.Errorf("data %s", data)
	}
}

func TestParts_WhatIsNotCanonicalIsRefused(t *testing.T) {
	t.Parallel()
	rec := sampleRecord(&domain.EndpointEnabled{})
	good, err := AppendMetadata(nil, rec)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][3]string{
		"no data":        {"", "", ""},
		"no object":      {string(good), "[]", "{}"},
		"a space":        {`,"tenant"`, `, "tenant"`, "{}"},
		"more":           {`}`, `,"more":1}`, "{}"},
		"version":        {`"version":1`, `"version":0`, "{}"},
		"no UUID":        {`0195a334-dc00`, `0195a334xdc00`, "{}"},
		"upper-case":     {`0195a334-dc00`, `0195A334-dc00`, "{}"},
		"zero causation": {`0195a334-dc00-0000-0000-00000000000a`, `00000000-0000-0000-0000-000000000000`, "{}"},
		"empty":          {string(good), "", "{}"},
		"data":           {"", "", `{"a":}`},
	} {
		metadata := string(good)
		if change[0] != "" {
			metadata = strings.Replace(metadata, change[0], change[1], 1)
		}
		got := &domain.Record{ID: rec.ID, Stream: rec.Stream}
		err := DecodeParts(got, rec.Fact.RecordType(), []byte(metadata), []byte(change[2]))
		if err == nil {
			t.Errorf("%s: %s %q is read as %+v", name, metadata, change[2], got)
		}
	}
}
