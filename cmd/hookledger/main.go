package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
)

// Exit codes.
const (
	exitOK         = 0
	exitFailure    = 1
	exitUsage      = 2
	exitNotFound   = 3
	exitNotAllowed = 4
	exitUnverified = 5
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; from then on the next one ends the process at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ})
	stop()
	os.Exit(code)
}

// app is what every command is given.
type app struct {
	in       io.Reader
	out      io.Writer
	err      io.Writer
	environ  func() []string
	settings *settings // of the command that runs
	printer  *output.Printer
	misled   error                                      // why there is no help: cobra has no way to say so
	waits    func(context.Context, time.Duration) error // instead of pause, for tests
}

// pause waits so long, or until ctx ends, whose error it gives.
func (a *app) pause(ctx context.Context, d time.Duration) error {
	if a.waits != nil {
		return a.waits(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// run runs one command line and gives its exit code.
func run(ctx context.Context, args []string, a *app) int {
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = a.misled
	}
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errReported) {
		a.report(cmd, err)
	}
	return exitCode(err)
}

// errReported ends a command with a failure that it has described itself.
var errReported = errors.New("reported")

// usageError is a command line that can't be carried out.
type usageError struct{ detail, fix string }

func (e *usageError) Error() string { return e.detail }

func usage(detail, fix string) error { return &usageError{detail, fix} }

// unverifiedError is a check that failed.
type unverifiedError struct{ err error }

func (e *unverifiedError) Error() string { return e.err.Error() }
func (e *unverifiedError) Unwrap() error { return e.err }

// badSettings are the refusals of a value that was given.
var badSettings = []string{"invalid_server", "invalid_signing_secret", "invalid_secrets", "eventstore_address",
	"eventstore_setting", "eventstore_node_preference", "eventstore_user", "eventstore_user_certificate", "eventstore_ca"}

func exitCode(err error) int {
	var bad *usageError
	var unverified *unverifiedError
	if errors.As(err, &unverified) {
		return exitUnverified
	}
	if errors.As(err, &bad) {
		return exitUsage
	}
	switch apiclient.StatusOf(err) {
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitNotAllowed
	case 0:
		// What is found here before a server is asked: a setting's value is wrong.
		var refusal *domain.Error
		if errors.As(err, &refusal) && slices.Contains(badSettings, refusal.Code) && refusal.Kind == domain.KindInvalid {
			return exitUsage
		}
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return exitUsage // as where it is found before the server is asked
	}
	return exitFailure
}

// report says what went wrong, and what to do about it.
func (a *app) report(cmd *cobra.Command, err error) {
	paint := output.Paint(output.Colour(a.err, a.getenv))
	detail, fix := err.Error(), ""
	var bad *usageError
	var problem *apiclient.Problem
	var refusal *domain.Error
	switch {
	case errors.As(err, &problem):
		detail, fix = refusedInFlags(cmd, problem)
		if fix == "" && len(problem.Errors) > 0 {
			fix = fixOf(cmd, detail)
		}
	case errors.As(err, &bad):
		fix = bad.fix
	case errors.As(err, &refusal) && detail == refusal.Error():
		detail, fix = refusal.Detail, refusal.Fix
	}
	fmt.Fprintf(a.err, "%s %s\n", paint.Red("error:"), detail)
	if fix != "" {
		fmt.Fprintf(a.err, "%s   %s\n", paint.Bold("fix:"), fix)
	}
	if problem != nil && problem.RetrySeconds > 0 {
		fmt.Fprintf(a.err, "%s %s\n", paint.Bold("Retry-After:"), problem.RetryAfter())
	}
}

// note tells a person something beside the data.
func (a *app) note(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }
