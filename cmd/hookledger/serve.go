package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"hookledger/delivery"
)

// gcPercent is Go's GOGC where the environment sets none.
const gcPercent = 400

// serveFlags are serve's own.
type serveFlags struct {
	dataDir     string
	store       storeFlags
	listen      string
	adminListen string
	tlsCert     string
	tlsKey      string
	allowCIDR   []string
	allowPort   []uint
	dev         bool
	deliver     bool
	window      int
	health      healthFlags
	lowWater    uint64
	traces      tracesConfig
	logFormat   string
	logLevel    string
	cpuProfile  string
}

func newServe(a *app) *cobra.Command {
	f := &serveFlags{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server: the API, the ledger and the delivery in one process, with all that it keeps in one data
directory.

The first start makes the data directory, the master key that seals content (master.key) and the admin's API key
(admin.key), both readable by this user only. Give them as HOOKLEDGER_MASTER_KEY and HOOKLEDGER_ADMIN_KEY (or as
HOOKLEDGER_MASTER_KEY_FILE and HOOKLEDGER_ADMIN_KEY_FILE) instead to keep them elsewhere.

Requests go to public addresses only; --allow-cidr adds networks of yours, and --dev allows this machine.`,
		Example: `  hookledger serve --data-dir /var/lib/hookledger --listen 127.0.0.1:8420
  hookledger serve --dev`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd, f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.dataDir, "data-dir", defaultDataDir, "where everything is kept; with --store eventstore, "+
		"all but the ledger")
	f.store.add(c)
	flags.StringVar(&f.listen, "listen", defaultListen, "address of the API")
	flags.StringVar(&f.adminListen, "admin-listen", "",
		"address of its own for /metrics and health (default: with the API)")
	flags.StringVar(&f.tlsCert, "tls-cert", "", "certificate (PEM), for HTTPS")
	flags.StringVar(&f.tlsKey, "tls-key", "", "its key (PEM)")
	flags.StringSliceVar(&f.allowCIDR, "allow-cidr", nil,
		"network that requests may go to although it is not public, on any port")
	flags.UintSliceVar(&f.allowPort, "allow-port", nil, "narrow public addresses to these ports (default: any)")
	flags.Lookup("allow-port").DefValue = "" // else help shows the empty list as a default
	flags.BoolVar(&f.dev, "dev", false, "for development: requests may go to this machine")
	flags.BoolVar(&f.deliver, "deliver", true,
		"send; --deliver=false takes events in and keeps them due for a later start")
	flags.IntVar(&f.window, "window", delivery.DefaultWindow, "attempts under way at once")
	f.health.add(c)
	flags.Uint64Var(&f.lowWater, "low-water", 256<<20, "free bytes of the disk below which no event is taken")
	f.traces.add(c)
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	choices(c, "log-format", "text", "json")
	choices(c, "log-level", "debug", "info", "warn", "error")
	flags.StringVar(&f.cpuProfile, "cpu-profile", "", "file for where the CPU time went, for go tool pprof")
	asSetting(flags, "data-dir", "listen", "admin-listen", "tls-cert", "tls-key", "allow-cidr", "allow-port", "dev",
		"deliver",
		"window", "low-water", "log-format", "log-level")
	return c
}

func (a *app) serve(cmd *cobra.Command, f *serveFlags) (err error) {
	cfg, err := a.serverConfig(f)
	if err != nil {
		return err
	}
	profiled, err := profileCPU(f.cpuProfile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, profiled()) }()
	if f.dev {
		cfg.Logger.Warn("--dev: any endpoint may name this machine; never use it where others can register endpoints")
	}
	if host, _, _ := net.SplitHostPort(f.listen); f.tlsCert == "" && !loopbackHost(host) {
		cfg.Logger.Warn("plain HTTP on an address that others reach: give --tls-cert and --tls-key, or put a TLS proxy before it",
			"listen", f.listen)
	}
	if a.getenv("GOGC") == "" {
		// What lives long is little and bounded, and what an attempt leaves behind is much: collect less often.
		debug.SetGCPercent(gcPercent)
	}
	s, err := startServer(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	cfg.Logger.Info("serving", "url", s.URL, "data_dir", f.dataDir, "ledger", s.LedgerID, "version", version)
	failure := s.Wait(cmd.Context())
	if failure == nil {
		cfg.Logger.Info("ending: no new requests; attempts under way get their outcome")
	}
	if err := s.Close(); err != nil {
		return err
	}
	if failure != nil {
		return failure
	}
	cfg.Logger.Info("ended in order")
	return nil
}

// serverConfig checks the flags, and reads the secrets.
func (a *app) serverConfig(f *serveFlags) (serverConfig, error) {
	cfg := serverConfig{DataDir: f.dataDir, Listen: f.listen, AdminListen: f.adminListen, TLSCert: f.tlsCert,
		TLSKey:     f.tlsKey,
		NoDelivery: !f.deliver, Window: f.window}
	cfg.Egress.Dev = f.dev
	for _, c := range f.allowCIDR {
		p, err := netip.ParsePrefix(strings.TrimSpace(c))
		if err != nil {
			return cfg, usage(fmt.Sprintf("--allow-cidr %q is no network", c), "give one like 10.1.0.0/16 or fd00::/8")
		}
		cfg.Egress.AllowCIDR = append(cfg.Egress.AllowCIDR, p.Masked())
	}
	for _, p := range f.allowPort {
		if p < 1 || p > 65535 {
			return cfg, usage(fmt.Sprintf("--allow-port %d is no port", p), "give one from 1 to 65535")
		}
		cfg.Egress.AllowPorts = append(cfg.Egress.AllowPorts, uint16(p))
	}
	if f.window < 1 || f.window > 65536 {
		return cfg, usage("--window is out of range", "give 1 to 65536")
	}
	var err error
	if cfg.Health, err = f.health.config(delivery.DefaultMaxInFlightPerEndpoint); err != nil {
		return cfg, err
	}
	if cfg.Store, err = a.storeConfig(&f.store); err != nil {
		return cfg, err
	}
	cfg.Store.LowWater = f.lowWater
	if cfg.Traces, err = f.traces.checked(); err != nil {
		return cfg, err
	}
	cfg.Store.Note = func(format string, args ...any) { cfg.Logger.Warn(fmt.Sprintf(format, args...)) }
	if cfg.MasterKey, err = a.secret("MASTER_KEY"); err != nil {
		return cfg, err
	}
	if cfg.AdminKey, err = a.secret("ADMIN_KEY"); err != nil {
		return cfg, err
	}
	cfg.Logger, err = a.logger(f)
	return cfg, err
}

func (a *app) logger(f *serveFlags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usage("--log-level "+f.logLevel+" is unknown", "give debug, info, warn or error")
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "json":
		return slog.New(slog.NewJSONHandler(a.err, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(a.err, options)), nil
	}
	return nil, usage("--log-format "+f.logFormat+" is unknown", "give text or json")
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
