package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "serve:", err)
		}
		os.Exit(2)
	}
}

// run serves until ctx is done. What goes wrong on purpose it tells errs: the seed at first, the counts in the end.
func run(ctx context.Context, args []string, out, errs io.Writer) error {
	settings, err := parse(args, errs)
	if err != nil {
		return err
	}
	db, faults, err := settings.start()
	if err != nil {
		return err
	}
	fmt.Fprintln(errs, "seed:", settings.seed)
	fmt.Fprintln(out, db.ConnectionString())
	trouble := newChaos(settings, db)
	err = errors.Join(trouble.run(ctx), db.Close())
	fmt.Fprintf(errs, "faults: %v; nodes: %v\n", faults, trouble)
	return err
}
