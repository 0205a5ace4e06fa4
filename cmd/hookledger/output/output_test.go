package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/vbauerster/mpb/v8"
)

type thing struct {
	ID, Status, Note string
	Secret           int
}

func columns() []Column[thing] {
	return []Column[thing]{
		{Name: "id", Value: func(t thing) string { return t.ID }, Width: 4},
		{Name: "last_status", Value: func(t thing) string { return t.Status }, Status: true, Width: 9},
		{Name: "note", Value: func(t thing) string { return t.Note }},
		{Name: "more", Value: func(t thing) string { return NonZero(t.Secret) }, Detail: true},
	}
}

var things = []struct {
	raw string
	v   thing
}{
	{`{"id":"a","x":{"y":[1,2]}}`, thing{"a", "succeeded", "fine", 7}},
	{`{"id":"b"}`, thing{"b", "exhausted", "=1+1, \"quoted\"", 0}},
}

func render(t *testing.T, f Format, paint Paint, stream bool) string {
	t.Helper()
	var b bytes.Buffer
	p := &Printer{Out: &b, Format: f, Paint: paint}
	l := NewList(p, columns())
	if stream {
		l = NewStream(p, columns())
	}
	for _, th := range things {
		if err := l.Add(json.RawMessage(th.raw), th.v); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestListInEveryFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		format Format
		stream bool
		want   string
	}{
		{"table", Table, false, "id  last status  note\na   succeeded    fine\nb   exhausted    =1+1, \"quoted\"\n"},
		{"table stream", Table, true, "a     succeeded  fine\nb     exhausted  =1+1, \"quoted\"\n"},
		{"ndjson", NDJSON, false, "{\"id\":\"a\",\"x\":{\"y\":[1,2]}}\n{\"id\":\"b\"}\n"},
		{"json stream", JSON, true, "{\"id\":\"a\",\"x\":{\"y\":[1,2]}}\n{\"id\":\"b\"}\n"},
		{"csv", CSV, false, "id,last_status,note,more\na,succeeded,fine,7\nb,exhausted,\"'=1+1, \"\"quoted\"\"\",\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := render(t, c.format, false, c.stream); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		t.Parallel()
		var out []map[string]any
		if err := json.Unmarshal([]byte(render(t, JSON, false, false)), &out); err != nil || len(out) != 2 {
			t.Errorf("%v, %d elements", err, len(out))
		}
	})
}

func TestEmptyLists(t *testing.T) {
	t.Parallel()
	for f, want := range map[Format]string{JSON: "[]\n", NDJSON: "", CSV: "id,last_status,note,more\n",
		Table: "id  last status  note\n"} {
		var b bytes.Buffer
		if err := NewList(&Printer{Out: &b, Format: f}, columns()).Close(); err != nil || b.String() != want {
			t.Errorf("%s: got %q, %v", f, b.String(), err)
		}
	}
}

// TestLongCellsAreCutInAListsTable: and nowhere else.
func TestLongCellsAreCutInAListsTable(t *testing.T) {
	t.Parallel()
	long := []Column[string]{{Name: "note", Value: func(s string) string { return s }, Max: 5}}
	for f, want := range map[Format]string{Table: "note\nfünf…\nshort\n", CSV: "note\nfünfzehn\nshort\n"} {
		var b bytes.Buffer
		l := NewList(&Printer{Out: &b, Format: f}, long)
		for _, s := range []string{"fünfzehn", "short"} {
			if err := l.Add(nil, s); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil || b.String() != want {
			t.Errorf("%s: %q, %v", f, b.String(), err)
		}
	}
	var b bytes.Buffer
	err := One(&Printer{Out: &b, Format: Table}, long, nil, "fünfzehn")
	if err != nil || b.String() != "note  fünfzehn\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestOneShowsDetailsThatAreThere(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := One(&Printer{Out: &b, Format: Table}, columns(), nil, things[0].v); err != nil {
		t.Fatal(err)
	}
	if want := "id           a\nlast status  succeeded\nnote         fine\nmore         7\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestColourOnlyWhereItIsOn(t *testing.T) {
	t.Parallel()
	if got := render(t, Table, false, false); strings.Contains(got, "\x1b") {
		t.Errorf("colour though it is off: %q", got)
	}
	if got := render(t, Table, true, false); !strings.Contains(got, "\x1b[32msucceeded\x1b[0m") {
		t.Errorf("no colour though it is on: %q", got)
	}
	if Colour(io.Discard, func(string) string { return "" }) {
		t.Error("colour for what is no terminal")
	}
}

func TestControlCharactersNeverReachTheTerminal(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"\x1b[2J", "\x07", "\u009b31m", "\u202eevil", "\x00"} {
		if got := Clean("a" + bad + "b"); strings.ContainsAny(got, "\x1b\x07\u009b\u202e\x00") {
			t.Errorf("%q passes as %q", bad, got)
		}
	}
	if got := Clean("two\nlines\tand ümläut 日本"); got != "two lines and ümläut 日本" {
		t.Errorf("got %q", got)
	}
}

func FuzzCSVCellStartsNoFormula(f *testing.F) {
	for _, s := range []string{"=1", "+x", "-x", "@x", "\tx", "\rx", "-5", "+1e3", "plain", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := SafeCell(s)
		if !strings.HasSuffix(got, s) {
			t.Fatalf("%q became %q", s, got)
		}
		if got != "" && strings.ContainsRune("=@\t\r", rune(got[0])) {
			t.Fatalf("%q starts a formula as %q", s, got)
		}
	})
}

func TestCSVReadsBack(t *testing.T) {
	t.Parallel()
	rows, err := csv.NewReader(strings.NewReader(render(t, CSV, false, false))).ReadAll()
	if err != nil || len(rows) != 3 || rows[2][2] != `'=1+1, "quoted"` {
		t.Errorf("%v: %q", err, rows)
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for _, p := range []*Progress{NewProgress(&b, "x", 10), NewBytes(&b, "x", 0)} {
		p.Add(1)
		p.Set(5)
		if p.Say("waiting") {
			t.Error("it says that it was shown")
		}
		p.Done()
	}
	NewProgress(&b, "x", 10).Note(&b, "a line")
	if b.String() != "a line\n" {
		t.Errorf("a bar on no terminal: %q", b.String())
	}
	// On one, it counts and ends, whether or not the total was reached.
	for _, total := range []int64{0, 10} {
		p := newProgress(io.Discard, "x", total, total == 0, mpb.WithAutoRefresh())
		p.Add(3)
		if !p.Say("waiting") {
			t.Error("it says that it was not shown")
		}
		p.Note(&b, "a line above it")
		p.Done()
	}
}

func TestParseNamesTheFormats(t *testing.T) {
	t.Parallel()
	if _, err := Parse("xml"); err == nil || !strings.Contains(err.Error(), "table, json, ndjson, csv") {
		t.Errorf("got %v", err)
	}
	if f, err := Parse("csv"); err != nil || f != CSV {
		t.Errorf("got %q, %v", f, err)
	}
}

// TestAListsTableIsCutAtTheTerminal: and so is nothing else.
func TestAListsTableIsCutAtTheTerminal(t *testing.T) {
	t.Parallel()
	wide := []Column[string]{{Name: "id", Value: func(string) string { return "evt_1" }},
		{Name: "note", Value: func(s string) string { return s }}}
	for f, want := range map[Format]string{Table: "id     note\nevt_1  fünf…\n", CSV: "id,note\nevt_1,fünfzehn\n"} {
		var b bytes.Buffer
		l := NewList(&Printer{Out: &b, Format: f, Width: 12}, wide)
		if err := l.Add(nil, "fünfzehn"); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil || b.String() != want {
			t.Errorf("%s: %q, %v", f, b.String(), err)
		}
	}
	if Width(&bytes.Buffer{}) != 0 || Width(nil) != 0 {
		t.Error("what is no terminal has no width")
	}
}

// TestNothingIsCutThatHasALineOfItsOwn: what stands under a row, and what a single resource holds, goes on in the next
// line where the terminal ends, between words; an id longer than that stays whole. Other formats know no width.
func TestNothingIsCutThatHasALineOfItsOwn(t *testing.T) {
	t.Parallel()
	columns := []Column[string]{{Name: "id", Value: func(string) string { return "evt_1" }},
		{Name: "what_was", Below: true, Value: func(s string) string { return s }},
		{Name: "n", Value: func(string) string { return "7" }}}
	const long = "url: https://example.com/a/long/one, timeout: 5s -> 20s"
	for _, c := range []struct {
		format Format
		width  int
		one    bool
		want   string
	}{
		{Table, 0, false, "id     n\nevt_1  7\n  " + long + "\nevt_1  7\n  b\nevt_1  7\n"},
		{Table, 24, false, "id     n\nevt_1  7\n  url:\n  https://example.com/a/long/one,\n  timeout: 5s -> 20s\n" +
			"evt_1  7\n  b\nevt_1  7\n"},
		{CSV, 24, false, "id,what_was,n\nevt_1,\"" + long + "\",7\nevt_1,b,7\nevt_1,,7\n"},
		{Table, 0, true, "id        evt_1\nwhat was  " + long + "\nn         7\n"},
		{Table, 40, true, "id        evt_1\nwhat was  url:\n          https://example.com/a/long/one,\n" +
			"          timeout: 5s -> 20s\nn         7\n"},
	} {
		var b bytes.Buffer
		p := &Printer{Out: &b, Format: c.format, Width: c.width}
		if c.one {
			if err := One(p, columns, nil, long); err != nil {
				t.Fatal(err)
			}
		} else {
			l := NewList(p, columns)
			for _, s := range []string{long, "b", ""} {
				if err := l.Add(nil, s); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if b.String() != c.want {
			t.Errorf("%s, %d columns, one %v:\n%s\nwant\n%s", c.format, c.width, c.one, &b, c.want)
		}
	}
}
