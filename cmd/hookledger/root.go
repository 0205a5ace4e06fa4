package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/output"
)

// defaultServer and defaultDataDir are where serve and its clients meet without any setting.
const (
	defaultServer  = "http://127.0.0.1:8420"
	defaultListen  = "127.0.0.1:8420"
	defaultDataDir = "./hookledger-data"
)

// noSettings marks commands that read no settings: those that only hold others.
const noSettings = "no-settings"

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "hookledger",
		Short: "Send webhooks, and keep the evidence",
		Long: `hookledger sends webhooks and keeps the evidence: post an event, and every endpoint that subscribes to
it gets a signed request; everything that happened on the way is an immutable record.

Settings come from flags, else from HOOKLEDGER_* in the environment, else from a configuration file, else they
have a default. Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 not allowed, 5 verification failed.`,
		Example: `  hookledger demo
  hookledger serve --dev
  hookledger event send --example agent.status_changed`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.prepare(cmd)
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	flags := root.PersistentFlags()
	flags.String("config", "", "configuration file (default ~/.config/hookledger/config.yaml, if it is there)")
	flags.StringP("output", "o", string(output.Table), "how to write data: "+strings.Join(output.Formats(), ", "))
	asSetting(flags, "config", "output")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(
		output.Formats(), cobra.ShellCompDirectiveNoFileComp))
	a.explain(root)
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run it:"}, &cobra.Group{ID: "use", Title: "Use it:"},
		&cobra.Group{ID: "check", Title: "Check it:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", newDemo(a), newServe(a), newReceive(a), newBench(a))
	add("use", newEvent(a), newEndpoint(a), newEventType(a), newTenant(a), newKey(a), newSource(a),
		newReplay(a), newRecover(a), newListen(a))
	add("check", newStatus(a), newQuery(a), newDelivery(a), newAttempt(a), newRecord(a), newLedger(a), newProjection(a),
		newSignature(a), newReconcile(a))
	root.AddCommand(newConfig(a), newVersion(a))
	root.Version = version
	fitHelp(root)
	return root
}

// explain makes help of a command that does not exist an error, like the command itself.
func (a *app) explain(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd.HasSubCommands() {
			if a.misled = noSuchCommand(cmd, cmd.Flags().Args()); a.misled != nil {
				return
			}
		}
		help(cmd, args)
	})
	root.SetHelpCommand(&cobra.Command{Use: "help [COMMAND]", Short: "Explain a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil {
				return usage(err.Error(), "see: hookledger --help")
			}
			if of.HasSubCommands() {
				if err := noSuchCommand(of, rest); err != nil {
					return err
				}
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		}})
}

// prepare fills the flags from the layers below them and makes the printer.
func (a *app) prepare(cmd *cobra.Command) error {
	for c := cmd; c != nil; c = c.Parent() {
		if c.Name() == "completion" || c.Name() == "help" || strings.HasPrefix(c.Name(), cobra.ShellCompRequestCmd) {
			return nil
		}
	}
	if cmd.Annotations[noSettings] != "" {
		return nil
	}
	// cobra checks these later, and its errors say nothing of their kind.
	if err := missingFlags(cmd); err != nil {
		return err
	}
	if err := exclusiveFlags(cmd); err != nil {
		return err
	}
	if err := cmd.ValidateFlagGroups(); err != nil {
		return usage(err.Error(), seeHelp(cmd))
	}
	if err := a.load(cmd); err != nil {
		return err
	}
	name, err := cmd.Flags().GetString("output")
	if err != nil {
		return fmt.Errorf("the flag --output: %w", err)
	}
	format, err := output.Parse(name)
	if err != nil {
		return usage(fmt.Sprintf("--output: there is no format %q", name), "give "+choice(output.Formats()))
	}
	a.printer = &output.Printer{Out: a.out, Format: format, Paint: output.Paint(output.Colour(a.out, a.getenv)),
		Width: output.Width(a.out)}
	return nil
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noSuchCommand, Annotations: map[string]string{noSettings: "true"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(cmd.ErrOrStderr())
			if err := cmd.Help(); err != nil {
				return err
			}
			return usage("which of its commands?", seeHelp(cmd))
		}}
	c.AddCommand(subs...)
	return c
}

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	fix := seeHelp(cmd)
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		fix = "did you mean: " + cmd.CommandPath() + " " + near[0]
	}
	return usage(fmt.Sprintf("there is no command %q", cmd.CommandPath()+" "+args[0]), fix)
}

// args wants exactly the named arguments.
func args(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		if len(got) == len(names) {
			return nil
		}
		detail := "the command takes " + strings.Join(names, " ")
		if len(names) == 0 {
			detail = "the command takes no arguments"
		}
		return usage(detail, seeHelp(cmd))
	}
}
