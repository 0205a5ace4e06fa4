package httpapi

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func FuzzSplitArray(f *testing.F) {
	for _, s := range []string{`[]`, ` [ ] `, `[{}]`, `[1,"a]",{"b":[{},"\\\""]}]`, `[,]`, `[1 2]`, `[1,]`, `[`, `[{]}`,
		`x`, "[\"\\", `[{"a":1}]]`, `[[[]]]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := splitArray([]byte(s))
		var want []json.RawMessage
		if json.Unmarshal([]byte(s), &want) != nil {
			return // what is no JSON may be split all the same: each element is judged by its parser
		}
		if strings.TrimSpace(s) == "null" {
			return
		}
		if errors.Is(err, errBatchTooLarge) && len(want) > 1000 {
			return
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v, %d elements, want %d", err, len(got), len(want))
		}
		for i := range got {
			if strings.TrimSpace(string(want[i])) != string(got[i]) {
				t.Errorf("element %d is %q, want %q", i, got[i], want[i])
			}
		}
	})
}

// TestMergePatch has the cases of RFC 7396, appendix A, whose targets are objects.
func TestMergePatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		var target map[string]any
		if err := json.Unmarshal([]byte(c.target), &target); err != nil {
			t.Fatal(err)
		}
		got, err := mergePatch(target, []byte(c.patch))
		raw, _ := json.Marshal(got)
		if err != nil || string(raw) != c.want {
			t.Errorf("%s + %s = %s (%v), want %s", c.target, c.patch, raw, err, c.want)
		}
	}
	// A document of its own is replaced as a whole: a JSON Schema merged with the old one would be neither.
	got, err := mergePatch(map[string]any{"schema": map[string]any{"a": 1}}, []byte(`{"schema":{"const":null}}`), "schema")
	if raw, _ := json.Marshal(got); err != nil || string(raw) != `{"schema":{"const":null}}` {
		t.Errorf("schema: %s %v", raw, err)
	}
}
