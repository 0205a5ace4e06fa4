package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/output"
	"hookledger/ledger"
)

// version of this binary: -ldflags "-X main.version=v1.2.3" sets it; else it is what the Go command stamped.
var version = stamped()

func stamped() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Changed bool   `json:"changed,omitempty"` // the work tree was, when it was built
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Format  int    `json:"ledger_format"`
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Say which binary this is", Example: "  hookledger version -o json",
		Args: args(), RunE: func(*cobra.Command, []string) error {
			v := versionInfo{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
				Format: ledger.Format}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					switch s.Key {
					case "vcs.revision":
						v.Commit = s.Value
					case "vcs.modified":
						v.Changed = s.Value == "true"
					}
				}
			}
			return printOne(a, []output.Column[versionInfo]{
				{Name: "version", Value: func(v versionInfo) string { return v.Version }},
				{Name: "commit", Value: func(v versionInfo) string { return v.Commit }},
				{Name: "go", Value: func(v versionInfo) string { return v.Go }},
				{Name: "platform", Value: func(v versionInfo) string { return v.OS + "/" + v.Arch }},
				{Name: "ledger_format", Value: func(v versionInfo) string { return output.Int(v.Format) }},
			}, v)
		}}
}

// printOne prints what this binary made itself.
func printOne[T any](a *app, columns []output.Column[T], v T) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return output.One(a.printer, columns, raw, v)
}
