package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func TestHelpFitsIntoItsColumns(t *testing.T) {
	t.Parallel()
	a, _, _ := testApp(nil, "")
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		var shown bytes.Buffer
		c.SetOut(&shown)
		if err := c.Help(); err != nil || !strings.Contains(shown.String(), c.UsageString()) {
			t.Fatalf("%s: %v\n%s", c.CommandPath(), err, shown.String())
		}
		for line := range strings.SplitSeq(shown.String(), "\n") {
			if n := utf8.RuneCountInString(line); n > helpWidth {
				t.Errorf("%s: %d columns:\n%s", c.CommandPath(), n, line)
			}
		}
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	walk(newRoot(a))
}

func TestFillKeepsParagraphsAndWhatIsIndented(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                            "",
		"one two\nthree\n\nfour":      "one two\nthree\n\nfour",
		"a b c d e f g":               "a b c d\ne f g",
		"such as\n  an indented line": "such as\n  an indented line",
		"averylongword that is too":   "averylongword\nthat is\ntoo",
		"é é é é é":                   "é é é é\né",
	} {
		if got := fill(in, 7); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
