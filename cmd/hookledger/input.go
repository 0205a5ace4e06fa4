package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// maxInput bounds what is read of a file that must fit into one request.
const maxInput = 8 << 20

// content gives a value that a flag holds: itself, or what "@file" or "@-" (stdin) name.
func (a *app) content(flag, value string) ([]byte, error) {
	name, isFile := strings.CutPrefix(value, "@")
	if !isFile {
		return []byte(value), nil
	}
	return a.readInput(name, flag)
}

// readInput reads a file, or stdin for "-".
func (a *app) readInput(name, what string) ([]byte, error) {
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usage(what+" can't be read: "+err.Error(), "check the name")
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if len(raw) > maxInput {
		return nil, usage(fmt.Sprintf("%s is over %d MiB", what, maxInput>>20), "give less")
	}
	return raw, nil
}

// object gives a JSON value that a flag holds or names; nil for an empty flag.
func (a *app) object(flag, value string) (json.RawMessage, error) {
	if value == "" {
		return nil, nil
	}
	raw, err := a.content(flag, value)
	if err != nil {
		return nil, err
	}
	if !json.Valid(raw) {
		return nil, usage(flag+" is no JSON", `write it like '{"key":"value"}', or name a file with @file.json`)
	}
	return raw, nil
}

// later reads a time to come, or how long from now.
func later(flag, s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now().Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usage(fmt.Sprintf("%s: %q is no time to come", flag, s), "write it like 2027-01-01T00:00:00Z, or like 720h")
	}
	return t, nil
}

// pairs reads "key=value" flags.
func pairs(flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, kv := range list {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, usage(fmt.Sprintf("%s: %q is no key=value", flag, kv), "write it like team=billing")
		}
		out[k] = v
	}
	return out, nil
}
