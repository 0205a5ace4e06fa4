package reconcile

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// csvTable is a CSV (RFC 4180) whose first line names the columns.
type csvTable struct {
	reader  *csv.Reader
	columns []string
	values  []string
	row     int
	err     error
}

func newCSV(raw []byte) (*csvTable, error) {
	t := &csvTable{reader: csv.NewReader(bytes.NewReader(raw)), row: 1}
	t.reader.ReuseRecord = true
	head, err := t.reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, refuse("empty_file", "the file is empty", "its first line names the columns")
	}
	if err != nil {
		return nil, t.broken(err)
	}
	for _, name := range head {
		name = strings.ToLower(strings.TrimSpace(name))
		if slices.Contains(t.columns, name) {
			return nil, refuse("invalid_row", "row 1: the column "+strconv.Quote(short(name))+" is there twice", "take one out")
		}
		t.columns = append(t.columns, name)
	}
	if len(t.columns) == 1 && strings.ContainsAny(t.columns[0], ";\t") {
		return nil, refuse("invalid_row", "row 1: the columns are not separated by commas", "export it with commas")
	}
	return t, nil
}

func (t *csvTable) next() bool {
	if t.err != nil {
		return false
	}
	t.row++
	values, err := t.reader.Read()
	if errors.Is(err, io.EOF) {
		return false
	}
	t.err = err
	t.values = values
	return err == nil
}

func (t *csvTable) failed() error {
	if t.err == nil {
		return nil
	}
	return t.broken(t.err)
}

func (t *csvTable) broken(err error) error {
	at, line := "row "+strconv.Itoa(t.row), ""
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		line = " (line " + strconv.Itoa(bad.Line) + ")"
		if errors.Is(err, csv.ErrFieldCount) {
			return refuse("invalid_row", at+line+" has another number of fields than the first row",
				"put fields with a comma in double quotes")
		}
		err = bad.Err
	}
	return refuse("invalid_row", at+line+": "+err.Error(), "put fields in double quotes, and double the quotes in them")
}

func (t *csvTable) number() int     { return t.row }
func (t *csvTable) names() []string { return t.columns }

func (t *csvTable) field(name string) string {
	if i := slices.Index(t.columns, name); i >= 0 {
		return strings.TrimSpace(t.values[i])
	}
	return ""
}

// ndjsonTable has an object a line.
type ndjsonTable struct {
	raw    []byte
	fields map[string]string
	keys   []string
	row    int
	err    error
}

func newNDJSON(raw []byte) *ndjsonTable { return &ndjsonTable{raw: raw} }

func (t *ndjsonTable) next() bool {
	for t.err == nil && len(t.raw) > 0 {
		line, after, _ := bytes.Cut(t.raw, []byte("\n"))
		t.raw = after
		t.row++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		t.err = t.parse(line)
		return t.err == nil
	}
	return false
}

func (t *ndjsonTable) parse(line []byte) error {
	at := "row " + strconv.Itoa(t.row)
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return refuse("invalid_row", at+" is no JSON object", `write one object a line, such as {"webhook_id":"evt_1"}`)
	}
	t.fields, t.keys = map[string]string{}, t.keys[:0]
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return notJSON(at)
		}
		name, _ := key.(string)
		value, err := dec.Token()
		if err != nil {
			return notJSON(at)
		}
		if slices.Contains(t.keys, name) {
			return refuse("invalid_row", at+", "+strconv.Quote(short(name))+": it is there twice", "take one out")
		}
		t.keys = append(t.keys, name)
		switch v := value.(type) {
		case string:
			t.fields[name] = strings.TrimSpace(v)
		case json.Number:
			t.fields[name] = v.String()
		case nil:
		default:
			return refuse("invalid_row", at+", "+strconv.Quote(short(name))+": it is neither a text nor a number",
				"write it as one of these")
		}
	}
	if _, err := dec.Token(); err != nil {
		return notJSON(at)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return refuse("invalid_row", at+" has more than one JSON object", "write one object a line")
	}
	return nil
}

func notJSON(at string) error {
	return refuse("invalid_row", at+" is no whole JSON", "write one object a line, each on one line")
}

func (t *ndjsonTable) failed() error            { return t.err }
func (t *ndjsonTable) number() int              { return t.row }
func (t *ndjsonTable) names() []string          { return t.keys }
func (t *ndjsonTable) field(name string) string { return t.fields[name] }
