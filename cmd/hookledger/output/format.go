package output

import (
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"

	"hookledger/domain"
)

// Format is how data is written.
type Format string

const (
	Table  Format = "table"  // for people
	JSON   Format = "json"   // indented; a list is one array
	NDJSON Format = "ndjson" // one object a line
	CSV    Format = "csv"    // RFC 4180 with a header, safe to open in a spreadsheet
)

// Formats lists them all.
func Formats() []string { return []string{string(Table), string(JSON), string(NDJSON), string(CSV)} }

// Parse checks a format's name.
func Parse(s string) (Format, error) {
	for _, f := range Formats() {
		if s == f {
			return Format(f), nil
		}
	}
	return "", domain.Refuse(domain.KindInvalid, "invalid_output", "there is no output format \""+s+"\"",
		"use one of "+strings.Join(Formats(), ", "))
}

// IsTerminal says whether w is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}

// Width is how many columns the terminal has that w is; 0: w is none.
func Width(w any) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Colour says whether to colour what is written to w: on a terminal, unless NO_COLOR (no-color.org) or TERM=dumb says
// no.
func Colour(w io.Writer, getenv func(string) string) bool {
	return IsTerminal(w) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// Paint colours text if it is on.
type Paint bool

func (p Paint) code(c, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + c + "m" + s + "\x1b[0m"
}

func (p Paint) Bold(s string) string   { return p.code("1", s) }
func (p Paint) Dim(s string) string    { return p.code("2", s) }
func (p Paint) Red(s string) string    { return p.code("31", s) }
func (p Paint) Green(s string) string  { return p.code("32", s) }
func (p Paint) Yellow(s string) string { return p.code("33", s) }
func (p Paint) Blue(s string) string   { return p.code("34", s) }
func (p Paint) Cyan(s string) string   { return p.code("36", s) }

// Status colours the words that a delivery, an attempt or an endpoint can be called.
func (p Paint) Status(s string) string {
	switch s {
	case "succeeded", "enabled", "ok", "ready", "yes", "verified", "active":
		return p.Green(s)
	case "exhausted", "failed", "cancelled", "revoked", "expired", "no", "stopped", "not ready", "interrupted":
		return p.Red(s)
	case "retrying", "held", "disabled", "pending", "in_flight", "interrupted_unknown":
		return p.Yellow(s)
	}
	return s
}

// Clean replaces control characters, which could drive the terminal, and the marks that reverse the direction of text.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return '\uFFFD'
		}
		return r
	}, s)
}
