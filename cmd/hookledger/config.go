package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hookledger/cmd/hookledger/output"
)

// setting is one line of config show.
type setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Source  string `json:"source"` // "flag", a variable, a file, or "default"
	UsedBy  string `json:"used_by,omitempty"`
	Comment string `json:"comment,omitempty"`
}

func newConfig(a *app) *cobra.Command {
	show := &cobra.Command{Use: "show", Short: "Show the settings in force, and where each comes from; no secret",
		Example: "  HOOKLEDGER_SERVER=https://hooks.example.com hookledger config show", Args: args()}
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.allSettings(cmd)
		if err != nil {
			return err
		}
		list := output.NewList(a.printer, []output.Column[setting]{
			column("name", func(s setting) string { return s.Name }),
			column("value", func(s setting) string { return s.Value }),
			column("source", func(s setting) string { return s.Source }),
			column("used_by", func(s setting) string { return s.UsedBy }),
		})
		for _, s := range all {
			raw, err := marshal(s)
			if err != nil {
				return err
			}
			if err := list.Add(raw, s); err != nil {
				return err
			}
		}
		if err := list.Close(); err != nil {
			return err
		}
		if a.settings.file != "" {
			a.note("configuration file: %s", a.settings.file)
		} else if f := a.defaultFile(); f != "" {
			a.note("no configuration file (%s would be read)", f)
		}
		return nil
	}
	return group("config", "See how this binary is set up", show)
}

// allSettings collects the settings of every command, with the values that they have in this environment.
func (a *app) allSettings(cmd *cobra.Command) ([]setting, error) {
	found := map[string]*setting{}
	var walk func(c *cobra.Command) error
	walk = func(c *cobra.Command) error {
		if c.Runnable() && c.Annotations[noSettings] == "" {
			// The flags of c are filled as if it ran; nothing was given on its command line.
			c.InheritedFlags()
			s, err := a.loadFor(c)
			if err != nil {
				return err
			}
			c.Flags().VisitAll(func(f *pflag.Flag) {
				if !isSetting(f) || f.Name == "config" {
					return
				}
				if found[f.Name] == nil {
					found[f.Name] = &setting{Name: f.Name, Value: shown(f), Source: s.source(f.Name)}
				}
				top := topName(c)
				if by := strings.Fields(found[f.Name].UsedBy); !slices.Contains(by, top) {
					found[f.Name].UsedBy = strings.Join(append(by, top), " ")
				}
			})
		}
		for _, sub := range c.Commands() {
			if err := walk(sub); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(cmd.Root()); err != nil {
		return nil, err
	}
	out := make([]setting, 0, len(found)+len(secretSettings))
	for _, s := range found {
		if strings.Count(s.UsedBy, " ") > 5 {
			own := slices.DeleteFunc(strings.Fields(s.UsedBy), func(n string) bool { return !slices.Contains(offline, n) })
			s.UsedBy = strings.Join(append([]string{"clients"}, own...), " ")
		}
		if s.Name == "output" {
			s.UsedBy = "all"
		}
		out = append(out, *s)
	}
	for _, name := range secretSettings {
		s := setting{Name: strings.ToLower(strings.ReplaceAll(name, "_", "-")), Source: "default"}
		for _, v := range []string{envPrefix + name, envPrefix + name + "_FILE"} {
			if a.getenv(v) != "" {
				s.Value, s.Source = "[redacted]", v
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(x, y setting) int { return strings.Compare(x.Name, y.Name) })
	return out, nil
}

// offline are the commands that open stores or ports themselves: a setting of theirs is named beside the clients.
var offline = []string{"bench", "demo", "ledger", "projection", "serve"}

// shown is a flag's value without the brackets that pflag puts around a list, and without the login of a URL.
func shown(f *pflag.Flag) string {
	if _, list := f.Value.(pflag.SliceValue); list {
		return strings.Trim(f.Value.String(), "[]")
	}
	return urlLogin.ReplaceAllString(f.Value.String(), "$1[redacted]@")
}

// urlLogin is what stands before a URL's host, whether or not it parses: a password may have a / that should be %2F.
// What stands before an @ of the path goes as well.
var urlLogin = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*://).*@`)

// topName is the command below the root that c belongs to.
func topName(c *cobra.Command) string {
	for c.HasParent() && c.Parent().HasParent() {
		c = c.Parent()
	}
	return c.Name()
}
