package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Column is one field of a resource.
type Column[T any] struct {
	Name   string // snake_case, as in JSON
	Value  func(T) string
	Status bool // a word to colour
	Width  int  // that Stream pads to; 0: as it comes
	Detail bool // not in a list's table, which must fit a terminal
	Max    int  // of characters in a list's table, which cuts longer ones off; 0: any number
	Below  bool // in a list's table: under the row, for what no column has room for
}

// Printer says where data goes, and how.
type Printer struct {
	Out    io.Writer
	Format Format
	Paint  Paint
	Width  int // of the terminal, which cuts a list's table; 0: none
}

// List writes resources one after the other. Close must follow.
type List[T any] struct {
	p       *Printer
	columns []Column[T]
	stream  bool
	csv     *csv.Writer
	table   table.Writer
	below   []string // the lines under each row of the table
	n       int
}

// NewList begins a list. A table is written at Close.
func NewList[T any](p *Printer, columns []Column[T]) *List[T] {
	return &List[T]{p: p, columns: columns}
}

// NewStream begins a list without an end: each resource is written as it comes, a table as padded lines.
func NewStream[T any](p *Printer, columns []Column[T]) *List[T] {
	return &List[T]{p: p, columns: columns, stream: true}
}

// Len is the number of resources so far.
func (l *List[T]) Len() int { return l.n }

// Add writes a resource: v for the columns, raw as the server wrote it.
func (l *List[T]) Add(raw json.RawMessage, v T) error {
	first := l.n == 0
	l.n++
	switch {
	case l.p.Format == NDJSON, l.p.Format == JSON && l.stream:
		return l.line(raw)
	case l.p.Format == JSON:
		return l.element(raw, first)
	case l.p.Format == CSV:
		return l.record(v)
	case l.stream:
		return l.padded(v)
	}
	l.begin()
	row, below := table.Row{}, ""
	for _, c := range l.columns {
		switch cell := l.short(c, v); {
		case c.Below && cell != "":
			below += "\n" + indent + strings.ReplaceAll(Wrapped(cell, l.p.Width-len(indent)), "\n", "\n"+indent)
		case !c.Detail && !c.Below:
			row = append(row, cell)
		}
	}
	l.table.AppendRow(row)
	l.below = append(l.below, below)
	return nil
}

// Close ends the list.
func (l *List[T]) Close() error {
	switch {
	case l.p.Format == NDJSON, l.stream && l.p.Format != CSV:
		return nil
	case l.p.Format == JSON:
		end := "\n]\n"
		if l.n == 0 {
			end = "[]\n"
		}
		return write(l.p.Out, end)
	case l.p.Format == CSV:
		return l.header()
	}
	l.begin()
	return write(l.p.Out, l.fitting(l.table.Render())+"\n")
}

// indent is what stands before what is under a row.
const indent = "  "

// fitting cuts each line at the terminal's width, where there is one, and puts under each what belongs there. The
// table's own limit counts the padding behind the last column, and cuts what would fit.
func (l *List[T]) fitting(rendered string) string {
	lines := strings.Split(rendered, "\n")
	for i, line := range lines {
		if l.p.Width > 0 {
			line = text.Snip(line, l.p.Width, "…")
		}
		if row := i - 1; row >= 0 && row < len(l.below) { // the first line is the header
			line += l.below[row]
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

// Wrapped breaks a text between words, so that its lines fit a width; a word that does not is left whole: it is an id
// or a URL, to be copied. Without a width it is one line.
func Wrapped(s string, width int) string {
	if width <= 0 {
		return s
	}
	var b strings.Builder
	used := 0
	for word := range strings.FieldsSeq(s) {
		n := text.StringWidthWithoutEscSequences(word)
		switch {
		case used == 0:
		case used+1+n > width:
			b.WriteByte('\n')
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String()
}

func (l *List[T]) line(raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	b.WriteByte('\n')
	return write(l.p.Out, b.String())
}

func (l *List[T]) element(raw json.RawMessage, first bool) error {
	lead := ",\n  "
	if first {
		lead = "[\n  "
	}
	var b bytes.Buffer
	b.WriteString(lead)
	if err := json.Indent(&b, raw, "  ", "  "); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return write(l.p.Out, b.String())
}

func (l *List[T]) header() error {
	if l.csv != nil {
		return nil
	}
	l.csv = csv.NewWriter(l.p.Out)
	names := make([]string, len(l.columns))
	for i, c := range l.columns {
		names[i] = c.Name
	}
	return l.flush(names)
}

func (l *List[T]) record(v T) error {
	if err := l.header(); err != nil {
		return err
	}
	cells := make([]string, len(l.columns))
	for i, c := range l.columns {
		cells[i] = SafeCell(c.Value(v))
	}
	return l.flush(cells)
}

func (l *List[T]) flush(cells []string) error {
	_ = l.csv.Write(cells) // Error gives what it hit
	l.csv.Flush()
	if err := l.csv.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

func (l *List[T]) padded(v T) error {
	var b strings.Builder
	for i, c := range l.columns {
		if c.Detail {
			continue
		}
		if i > 0 {
			b.WriteString("  ")
		}
		cell := l.cell(c, v)
		b.WriteString(cell)
		if pad := c.Width - text.StringWidthWithoutEscSequences(cell); pad > 0 {
			b.WriteString(strings.Repeat(" ", pad))
		}
	}
	return write(l.p.Out, strings.TrimRight(b.String(), " ")+"\n")
}

func (l *List[T]) begin() {
	if l.table != nil {
		return
	}
	l.table = newTable()
	head := table.Row{}
	for _, c := range l.columns {
		if !c.Detail && !c.Below {
			head = append(head, l.p.Paint.Bold(heading(c.Name)))
		}
	}
	l.table.AppendHeader(head)
}

func (l *List[T]) cell(c Column[T], v T) string {
	s := Clean(c.Value(v))
	if c.Status {
		return l.p.Paint.Status(s)
	}
	return s
}

// short is cell for a list's table.
func (l *List[T]) short(c Column[T], v T) string {
	if s := []rune(l.cell(c, v)); c.Max > 0 && len(s) > c.Max {
		return string(s[:c.Max-1]) + "…"
	}
	return l.cell(c, v)
}

// One writes a single resource: in a table, one line for each column that has a value, and more where the terminal has
// no room for it.
func One[T any](p *Printer, columns []Column[T], raw json.RawMessage, v T) error {
	switch p.Format {
	case JSON:
		var b bytes.Buffer
		if err := json.Indent(&b, raw, "", "  "); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
		return write(p.Out, b.String()+"\n")
	case NDJSON, CSV:
		l := NewList(p, columns)
		if err := l.Add(raw, v); err != nil {
			return err
		}
		return l.Close()
	}
	l := NewList(p, columns)
	t, names := newTable(), 0
	for _, c := range columns {
		if l.cell(c, v) != "" {
			names = max(names, len(c.Name)+len("  "))
		}
	}
	for _, c := range columns {
		if cell := l.cell(c, v); cell != "" {
			if p.Width > 0 {
				cell = Wrapped(cell, max(p.Width-names, 20))
			}
			t.AppendRow(table.Row{p.Paint.Dim(heading(c.Name)), cell})
		}
	}
	return write(p.Out, t.Render()+"\n")
}

func newTable() table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	return t
}

func heading(name string) string { return strings.ReplaceAll(name, "_", " ") }

// SafeCell keeps a spreadsheet from taking a cell for a formula: what begins like one, and is no number, gets an
// apostrophe in front (OWASP, "CSV injection").
func SafeCell(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return s
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return "'" + s
}

func write(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}
