package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hookledger/domain"
)

// A flag that is marked as a setting can be given as a flag, as HOOKLEDGER_X in the environment, or as x in the
// configuration file, in this order; else its default holds. Secrets are no flags: each is HOOKLEDGER_X, or
// HOOKLEDGER_X_FILE, which names a file that holds it.
const (
	envPrefix         = "HOOKLEDGER_"
	settingAnnotation = "hookledger-setting"
)

// secretSettings are the secrets that commands ask for, by the name of their variable behind the prefix.
var secretSettings = []string{"API_KEY", "ADMIN_KEY", "MASTER_KEY", "SECRET", "SOURCE_PASSWORD", "SOURCE_API_KEY",
	"EVENTSTORE_USERNAME", "EVENTSTORE_PASSWORD"}

// asSetting marks flags.
func asSetting(flags *pflag.FlagSet, names ...string) {
	for _, n := range names {
		// It fails for a flag that does not exist only: a broken build.
		if err := flags.SetAnnotation(n, settingAnnotation, []string{"true"}); err != nil {
			panic(err)
		}
	}
}

func isSetting(f *pflag.Flag) bool { return f.Annotations[settingAnnotation] != nil }

func variable(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// settings are the layers that a command's flags were filled from.
type settings struct {
	file    string // the configuration file that was read, "" for none
	sources map[string]string
}

// source says where a setting's value comes from.
func (s *settings) source(name string) string {
	if from, ok := s.sources[name]; ok {
		return from
	}
	return "default"
}

// moreExplicit says whether one setting was given closer to the command than another: by a flag, in the environment, or
// in the configuration file.
func (s *settings) moreExplicit(name, than string) bool {
	return s.layer(name) > s.layer(than)
}

func (s *settings) layer(name string) int {
	switch s.source(name) {
	case "default":
		return 0
	case s.file:
		return 1
	case "flag":
		return 3
	}
	return 2
}

func (a *app) getenv(name string) string {
	for _, kv := range a.environ() {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// load fills the flags of cmd that were not given from the environment and the configuration file.
func (a *app) load(cmd *cobra.Command) (err error) {
	a.settings, err = a.loadFor(cmd)
	return err
}

func (a *app) loadFor(cmd *cobra.Command) (*settings, error) {
	file, fromFile, err := a.readFile(cmd)
	if err != nil {
		return nil, err
	}
	fromEnv := koanf.New(".")
	if err := fromEnv.Load(env.Provider(".", env.Opt{Prefix: envPrefix, EnvironFunc: a.environ,
		TransformFunc: func(k, v string) (string, any) {
			return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(k, envPrefix), "_", "-")), v
		}}), nil); err != nil {
		return nil, fmt.Errorf("read the environment: %w", err)
	}
	out := &settings{file: file, sources: map[string]string{}}
	var bad error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		switch {
		case !isSetting(f) || bad != nil:
		case f.Changed:
			out.sources[f.Name] = "flag"
		case a.secretFile(f) != "":
			out.sources[f.Name] = variable(f.Name) + "_FILE"
			bad = a.fillSecret(f)
		case fromEnv.Exists(f.Name) && fromEnv.String(f.Name) != "":
			out.sources[f.Name] = variable(f.Name)
			bad = fillFlag(cmd, f, fromEnv.Get(f.Name), variable(f.Name))
		case fromFile.Exists(f.Name):
			out.sources[f.Name] = file
			bad = fillFlag(cmd, f, fromFile.Get(f.Name), f.Name+" in "+file)
		}
	})
	return out, bad
}

// secretFile names the file that holds a flag that is a secret, by HOOKLEDGER_X_FILE; empty: none does.
func (a *app) secretFile(f *pflag.Flag) string {
	if _, ok := f.Value.(secretValue); !ok {
		return ""
	}
	return a.getenv(variable(f.Name) + "_FILE")
}

// fillSecret sets such a flag from its file.
func (a *app) fillSecret(f *pflag.Flag) error {
	secret, err := a.secret(strings.TrimPrefix(variable(f.Name), envPrefix))
	if err != nil {
		return err
	}
	return f.Value.Set(secret.Reveal())
}

// fillFlag sets a flag as if it had been given; a list of the file sets each of its values.
func fillFlag(cmd *cobra.Command, f *pflag.Flag, value any, from string) error {
	set := func(v any) error {
		if err := f.Value.Set(fmt.Sprint(v)); err != nil {
			return usage(fmt.Sprintf("%s: %q is not what it takes", from, fmt.Sprint(v)), takes(cmd, f))
		}
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		return set(value)
	}
	slice, ok := f.Value.(pflag.SliceValue)
	if !ok {
		return usage(from+" is a list, and takes one value", "write it without the dash")
	}
	values := make([]string, len(list))
	for i, v := range list {
		values[i] = fmt.Sprint(v)
	}
	if err := slice.Replace(values); err != nil {
		return usage(fmt.Sprintf("%s: %v is not what it takes", from, values), takes(cmd, f))
	}
	return nil
}

// readFile reads the configuration file: the one that --config or HOOKLEDGER_CONFIG names, which must be there, or
// hookledger/config.yaml in the user's folder for such files, where there is one. It refuses what no command knows.
func (a *app) readFile(cmd *cobra.Command) (string, *koanf.Koanf, error) {
	k := koanf.New(".")
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return "", nil, fmt.Errorf("the flag --config: %w", err)
	}
	if path == "" {
		path = a.getenv(variable("config"))
	}
	named := path != ""
	if !named {
		if path = a.defaultFile(); path == "" {
			return "", k, nil
		}
	}
	raw, err := os.ReadFile(path)
	if !named && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) { // a file where a folder would be
		return "", k, nil
	}
	if err != nil {
		return "", nil, usage("the configuration file can't be read: "+err.Error(), "check --config or HOOKLEDGER_CONFIG")
	}
	values, err := yaml.Parser().Unmarshal(raw)
	if err != nil {
		return "", nil, usage(path+" is not valid YAML: "+err.Error(), "write lines such as: server: http://127.0.0.1:8420")
	}
	if err := k.Load(confmap.Provider(values, ""), nil); err != nil {
		return "", nil, fmt.Errorf("read %s: %w", path, err)
	}
	known := settingNames(cmd.Root())
	for name := range values {
		if !slices.Contains(known, name) {
			return "", nil, usage(fmt.Sprintf("%s has %q, which is no setting", path, name),
				"use one of: "+strings.Join(known, ", "))
		}
	}
	return path, k, nil
}

func (a *app) defaultFile() string {
	dir := a.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := a.getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "hookledger", "config.yaml")
}

// settingNames lists the settings of all commands.
func settingNames(c *cobra.Command) []string {
	var names []string
	collect := func(f *pflag.Flag) {
		if isSetting(f) && f.Name != "config" && !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	c.PersistentFlags().VisitAll(collect)
	c.LocalFlags().VisitAll(collect)
	for _, sub := range c.Commands() {
		for _, n := range settingNames(sub) {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	slices.Sort(names)
	return names
}

// secret gives HOOKLEDGER_NAME, or what the file of HOOKLEDGER_NAME_FILE holds, without white space around it; empty if
// neither is set.
func (a *app) secret(name string) (domain.Secret, error) {
	value, file := a.getenv(envPrefix+name), a.getenv(envPrefix+name+"_FILE")
	switch {
	case value != "" && file != "":
		return domain.Secret{}, usage(envPrefix+name+" and "+envPrefix+name+"_FILE are both set", "unset one of them")
	case file != "":
		return readSecret(file, envPrefix+name+"_FILE")
	}
	return domain.NewSecret(strings.TrimSpace(value)), nil
}

func readSecret(file, from string) (domain.Secret, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return domain.Secret{}, usage("the file of "+from+" can't be read: "+err.Error(), "check its name and mode")
	}
	s := domain.NewSecret(strings.TrimSpace(string(raw)))
	if s.Empty() {
		return s, usage("the file of "+from+" is empty", "put the secret into it")
	}
	return s, nil
}
