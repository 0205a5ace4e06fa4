package pointer

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestGet(t *testing.T) {
	t.Parallel()
	// The examples of RFC 6901, 5, and some that lead nowhere.
	v, err := Check([]byte(` {"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8} `))
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{"": string(v), "/foo": `["bar","baz"]`, "/foo/0": `"bar"`, "/foo/1": `"baz"`,
		"/": "0", "/a~1b": "1", "/c%d": "2", "/e^f": "3", "/g|h": "4", `/i\j`: "5", `/k"l`: "6", "/ ": "7", "/m~0n": "8",
		"/foo/2": "", "/foo/-1": "", "/foo/x": "", "/nope": "", "/foo/0/x": "", "/a~1b/c": ""} {
		got, ok := Get(v, p)
		if string(got) != want || ok != (want != "") {
			t.Errorf("%q: %s %v", p, got, ok)
		}
	}
	for text, want := range map[string]string{`"a"`: "a", `1.50`: "1.50", "true": "", "null": "", "{}": ""} {
		if got := Text(Value(text)); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestCheckRefusesWhatIsAmbiguous(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "EOF", "{": "EOF", `{"a":1,"a":2}`: "duplicate", `{} {}`: "follows",
		"\"\xff\"": "UTF-8", `<html>`: "at byte 0"} {
		if _, err := Check([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzGet(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":1}]}`), "/a/0/b")
	f.Add([]byte(`[[]]`), "/0/0")
	f.Fuzz(func(t *testing.T, text []byte, p string) {
		v, err := Check(text)
		if err != nil || p != "" && p[0] != '/' {
			return
		}
		if got, ok := Get(v, p); ok && !json.Valid(got) {
			t.Fatalf("%q of %q is %q", p, text, got)
		}
	})
}
