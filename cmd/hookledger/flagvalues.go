package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says what a flag takes where it was given something else, or nothing.
func flagError(cmd *cobra.Command, err error) error {
	var wrong *pflag.InvalidValueError
	var bare *pflag.ValueRequiredError
	switch {
	case errors.As(err, &wrong):
		f := wrong.GetFlag()
		return usage(fmt.Sprintf("--%s: %q is not what it takes", f.Name, wrong.GetValue()), takes(cmd, f))
	case errors.As(err, &bare) && bare.GetFlag() != nil:
		f := bare.GetFlag()
		return usage("--"+f.Name+" has no value", takes(cmd, f))
	}
	return usage(err.Error(), seeHelp(cmd))
}

// missingFlags names the flags that must be given and were not, with what each takes.
func missingFlags(cmd *cobra.Command) error {
	var names, fixes []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if slices.Equal(f.Annotations[cobra.BashCompOneRequiredFlag], []string{"true"}) && !f.Changed {
			names, fixes = append(names, "--"+f.Name), append(fixes, takes(cmd, f))
		}
	})
	if len(names) == 0 {
		return nil
	}
	return usage(strings.Join(names, ", ")+" must be given", strings.Join(fixes, "; "))
}

// oneOf is how the API says which values there are.
var oneOf = regexp.MustCompile(`expected value to be one of "([^"]+)"`)

// fixOf is what to do about a value that the API refuses, where it does not say so itself: detail begins with the flag.
func fixOf(cmd *cobra.Command, detail string) string {
	if m := oneOf.FindStringSubmatch(detail); m != nil {
		return "give " + choice(strings.Split(m[1], ", "))
	}
	name, _, _ := strings.Cut(detail, ":")
	if f := cmd.Flags().Lookup(strings.TrimPrefix(name, "--")); f != nil && strings.HasPrefix(name, "--") {
		return takes(cmd, f)
	}
	return seeHelp(cmd)
}

// span is a flag's time as it is written, so that what was not given can be told from what is 0.
type span string

func (s *span) String() string { return string(*s) }
func (s *span) Type() string   { return "duration" }

// Set takes what the API takes.
func (s *span) Set(text string) error {
	if _, err := time.ParseDuration(text); err != nil {
		return err
	}
	*s = span(text)
	return nil
}

// spans is a flag's list of times.
type spans []string

func (s *spans) String() string { return strings.Join(*s, ",") }
func (s *spans) Type() string   { return "durations" }

// Set adds to what was given before.
func (s *spans) Set(text string) error {
	if text == "" {
		*s = spans{}
		return nil
	}
	for one := range strings.SplitSeq(text, ",") {
		if _, err := time.ParseDuration(one); err != nil {
			return err
		}
		*s = append(*s, one)
	}
	return nil
}

// exclusiveFlags names the flags that were given and can't be, together.
func exclusiveFlags(cmd *cobra.Command) error {
	const annotation = "cobra_annotation_mutually_exclusive" // cobra's own; its error has the flags without their dashes
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		for _, group := range f.Annotations[annotation] {
			var given []string
			for name := range strings.FieldsSeq(group) {
				if cmd.Flags().Changed(name) {
					given = append(given, "--"+name)
				}
			}
			if len(given) > 1 {
				err = usage(strings.Join(given, " and ")+" can't be given together", "leave out all but one of them")
			}
		}
	})
	return err
}

// written is how the values of a type are.
var written = map[string]string{"bool": "true or false", "int": "a whole number", "int64": "a whole number",
	"uint64": "a whole number", "float64": "a number", "duration": "a time with its unit, such as 30s, 5m or 2h",
	"durations": "times with their units, such as 5s,5m,2h"}

// takes says what a flag takes: its values where they are few, else what is written there, as its help has it.
func takes(cmd *cobra.Command, f *pflag.Flag) string {
	if complete, ok := cmd.GetFlagCompletionFunc(f.Name); ok {
		values, _ := complete(cmd, nil, "")
		return "give --" + f.Name + " " + choice(values)
	}
	what := written[f.Value.Type()]
	_, help := pflag.UnquoteUsage(f)
	if what == "" {
		return "give --" + f.Name + ": " + help
	}
	return "give --" + f.Name + " " + what + ": " + help
}

// choices are the values that a flag takes, for the shell and for what is said of it.
func choices(c *cobra.Command, flag string, values ...string) {
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values,
		cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // no such flag: a broken build
	}
}

// choice writes "a, b or c".
func choice(values []string) string {
	if len(values) < 2 {
		return strings.Join(values, "")
	}
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

func seeHelp(cmd *cobra.Command) string { return "see: " + cmd.CommandPath() + " --help" }
