package main

import (
	"time"

	"github.com/spf13/cobra"

	"hookledger/domain"
)

// healthFlags are the thresholds of endpoint health.
type healthFlags struct {
	failures     int
	wait         time.Duration
	longest      time.Duration
	disableAfter time.Duration
}

func (f *healthFlags) add(c *cobra.Command) {
	d, flags := domain.DefaultHealthConfig(), c.Flags()
	flags.IntVar(&f.failures, "breaker-failures", d.BreakAfter,
		"failures in a row after which an endpoint's deliveries are held back; 0: never")
	flags.DurationVar(&f.wait, "breaker-wait", d.BreakFor,
		"how long, before one attempt is let through; doubled each time that it fails")
	flags.DurationVar(&f.longest, "breaker-max-wait", d.BreakAtMost, "how long at most")
	flags.DurationVar(&f.disableAfter, "disable-after", d.DisableAfter,
		"disable an endpoint after so long of nothing but failures, unless it sets a time of its own; 0s: never")
	asSetting(flags, "breaker-failures", "breaker-wait", "breaker-max-wait", "disable-after")
}

// config checks the flags. places is how many attempts an endpoint has in flight that sets no bound.
func (f *healthFlags) config(places int) (domain.HealthConfig, error) {
	c := domain.HealthConfig{BreakAfter: f.failures, BreakFor: f.wait, BreakAtMost: f.longest,
		DisableAfter: f.disableAfter, Places: places}
	switch {
	case f.failures < 0 || f.failures > 1000:
		return c, usage("--breaker-failures is out of range", "give 1 to 1000, or 0 for never")
	case f.wait < time.Second || f.longest < f.wait || f.longest > time.Hour:
		return c, usage("--breaker-wait or --breaker-max-wait is out of range",
			"give --breaker-wait from 1s, and --breaker-max-wait from that to 1h")
	case f.disableAfter < 0 || f.disableAfter > domain.MaxDisableAfter:
		return c, usage("--disable-after is out of range", "give a time up to 8760h, or 0s for never")
	}
	return c, nil
}
