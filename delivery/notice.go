package delivery

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxLine bounds what an event says in one line of a message, in characters.
	maxLine = 200
	// maxRows bounds the rows of a message.
	maxRows = 24
)

// notice is what an event says to people, before a channel writes it down. All that the event's sender can choose
// stands in text marked as quoted: a channel shows that literally, and nobody is called, linked or formatted by it.
type notice struct {
	title  []span
	rows   []row
	output string // long text of a job or an agent
	event  string // its type
	id     string
	at     time.Time // when it happened
}

// span is a piece of a line.
type span struct {
	text   string
	quoted bool
}

func said(text string) span    { return span{text: text} }
func quoted(value string) span { return span{text: line(value), quoted: true} }

// row is a line with a label; its value is quoted.
type row struct{ label, value string }

// heading is the title as plain text.
func (m *notice) heading() string {
	var b strings.Builder
	for _, s := range m.title {
		b.WriteString(s.text)
	}
	return b.String()
}

// noticeOf makes the message of an event's body. mark is the replay or delivery that it is repeated by, or empty. What
// can't be read is left out: an event that the ledger took is told all the same.
func noticeOf(body []byte, mark string) *notice {
	var envelope struct {
		ID        string                     `json:"id"`
		Event     string                     `json:"event"`
		Timestamp time.Time                  `json:"timestamp"`
		Data      map[string]json.RawMessage `json:"data"`
	}
	_ = json.Unmarshal(body, &envelope) // a part that does not fit stays empty
	d := eventData(envelope.Data)
	m := &notice{event: line(envelope.Event), id: line(envelope.ID), at: envelope.Timestamp}
	if shape, known := shapes[envelope.Event]; known {
		m.title = shape.title(d)
		for _, f := range shape.rows {
			m.add(f.label, d.show(f.field))
			delete(d, f.field)
		}
		for _, field := range shape.silent {
			delete(d, field)
		}
		m.output = text(d.raw(shape.output))
		delete(d, shape.output)
	} else {
		m.title = []span{quoted(envelope.Event)}
	}
	for _, field := range slices.Sorted(maps.Keys(d)) { // of the sender's own
		m.add(field, d.show(field))
	}
	m.add("Repeated by", mark)
	return m
}

func (m *notice) add(label, value string) {
	if value != "" && len(m.rows) < maxRows {
		m.rows = append(m.rows, row{line(label), line(value)})
	}
}

// eventData is an event's data, by the names of its fields.
type eventData map[string]json.RawMessage

// raw is a field as text: a string's own, anything else as its JSON.
func (d eventData) raw(field string) string {
	var s string
	if json.Unmarshal(d[field], &s) == nil {
		return s
	}
	var short bytes.Buffer
	if json.Compact(&short, d[field]) != nil {
		return ""
	}
	return short.String()
}

// show is a field as a person reads it: an amount with its unit.
func (d eventData) show(field string) string {
	v := d.raw(field)
	if v != "" && slices.Contains(amounts, field) {
		if d.raw("unit") == "money" {
			return v + " " + d.raw("currency")
		}
		return v + " " + d.raw("unit")
	}
	if v != "" && field == "durationMs" {
		return v + " ms"
	}
	return v
}

// line makes one line of printable text, with an end that says so where it is cut.
func line(s string) string {
	s = strings.Join(strings.Fields(text(s)), " ")
	return cut(s, maxLine, utf8.RuneLen)
}

// text drops what has no picture and changes how the rest is read: control characters but the line's end and the tab,
// and what turns the direction of writing round or has no width.
func text(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\r\n", "\n")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r' || r == '\u2028' || r == '\u2029':
			return '\n'
		case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r) && r != zeroWidthJoiner, unicode.Is(unicode.Co, r):
			return -1
		}
		return r
	}, s))
}

const zeroWidthJoiner = '\u200d' // of emoji

const ellipsis = "…"

// cut shortens s to at most limit, an ellipsis included; size is what a character counts for.
func cut(s string, limit int, size func(rune) int) string {
	used, keep := 0, 0 // keep: what stands with an ellipsis behind it
	for i, r := range s {
		if used+size('…') <= limit {
			keep = i
		}
		if used += size(r); used > limit {
			return s[:keep] + ellipsis
		}
	}
	return s
}

// stamp is a time as all channels show it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
