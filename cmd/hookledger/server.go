package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/httpapi"
	"hookledger/ingest"
	"hookledger/projections"
	"hookledger/retire"
	"hookledger/sources/agenfleet"
)

// serverConfig is all that a server is started with.
type serverConfig struct {
	DataDir     string
	Store       storeConfig // where the ledger stands
	Listen      string      // address of the API
	AdminListen string      // address of its own for /metrics and health; empty: with the API
	TLSCert     string
	TLSKey      string
	Egress      delivery.EgressConfig
	// MasterKey and AdminKey are taken instead of the files in DataDir where they are not empty.
	MasterKey domain.Secret
	AdminKey  domain.Secret
	// NoDelivery takes events in and delivers none: they wait, due, for a node that delivers.
	NoDelivery bool
	Window     int // attempts in flight at once; 0: the default
	Health     domain.HealthConfig
	Traces     tracesConfig
	Logger     *slog.Logger
}

// Limits of the HTTP server, and of an orderly end.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	intakeGrace       = 5 * time.Second
	catchUpGrace      = 10 * time.Second
	readyWithin       = 3 * time.Second // for the store's answer to /readyz
	bodyCacheBytes    = 8 << 20
)

// server is a running node: it owns its stores and goroutines from startServer to Close.
type server struct {
	URL      string // of the API
	AdminKey domain.Secret
	LedgerID string
	DataDir  string

	log    *slog.Logger
	closer closers
	// Each stage has a context of its own, so that Close can end them in order.
	stopStreams  context.CancelFunc
	stopPolls    context.CancelFunc
	stopRefusals context.CancelFunc
	stopTexts    context.CancelFunc
	stopDelivery context.CancelFunc
	stopFollow   context.CancelFunc
	following    context.Context // ends with stopFollow
	https        []*http.Server
	polled       chan struct{} // closed when no source is polled any more
	refused      chan struct{} // closed when the counts of refused posts are written
	drained      chan struct{} // closed when the delivery has ended; nil where there is none
	group        *errgroup.Group
	failed       context.Context // ends when a part failed
	proj         *projections.Projections
	store        nodeStore
	bootstrapped atomic.Bool
	closeOnce    sync.Once
	closeErr     error

	// Of what follows from records in other streams; nil where this node delivers nothing.
	stopFollowUps context.CancelFunc
	followedUp    chan struct{} // closed when it has ended
}

// closers are closed last to first.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c closers) close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i]())
	}
	return errors.Join(errs...)
}

// startServer opens everything, waits until it serves, and returns. ctx bounds the start only; Close ends the server.
func startServer(ctx context.Context, cfg serverConfig) (_ *server, err error) {
	s := &server{DataDir: cfg.DataDir, log: cfg.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closer.close())
		}
	}()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	// Listening comes first: a server that can't have its address must not touch anything.
	listener, err := listen(cfg.Listen, cfg.TLSCert, cfg.TLSKey)
	if err != nil {
		return nil, err
	}
	s.closer.add(func() error { return ignoreClosed(listener.Close()) })
	var admin net.Listener
	if cfg.AdminListen != "" {
		if admin, err = listen(cfg.AdminListen, "", ""); err != nil {
			return nil, err
		}
		s.closer.add(func() error { return ignoreClosed(admin.Close()) })
	}

	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	cfg.Store.Metrics, cfg.Store.Logger = registry, s.log
	keys, secrets, err := s.openLedger(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if s.AdminKey, err = secrets.adminKey(cfg.DataDir); err != nil {
		return nil, err
	}
	store := s.store
	registry.MustRegister(roomMetrics{store})
	if s.proj, err = projections.Open(ctx, projections.Config{Dir: filepath.Join(cfg.DataDir, projectionsDir),
		Store: store, Now: now, Metrics: registry, Logger: s.log, Health: cfg.Health}); err != nil {
		return nil, err
	}
	s.closer.add(s.proj.Close)

	spans, err := newTraces(ctx, cfg.Traces, s.log)
	if err != nil {
		return nil, err
	}
	s.closer.add(spans.Close)
	bodies := ingest.NewBodies(store, keys, bodyCacheBytes)
	in := ingest.New(ingest.Config{Store: store, Vault: keys, Directory: s.proj.Directory(), Room: store.Room, Now: now,
		NewID: newID, Bodies: bodies, Metrics: registry, Observer: spans.events()})
	var deliver *delivery.Delivery
	if !cfg.NoDelivery {
		if deliver, err = delivery.New(delivery.Config{Store: store, Backlog: s.proj.Backlog(), Endpoints: s.proj.Directory(),
			Bodies: bodies, Vault: keys, Room: store.Room, Now: now, NewID: newID, Jitter: jitter, Node: nodeName(),
			Gates: s.proj.Health(), HostLimit: hostLimit(s.proj.Directory()), Strained: newStrain(), Window: cfg.Window,
			Egress: cfg.Egress, Logger: s.log, Metrics: registry,
			Observer: spans.attempts()}); err != nil {
			return nil, err
		}
	}
	retirer, err := retire.New(retire.Config{Store: store, Vault: keys, Endpoints: s.proj.Directory(), Now: now,
		Room: store.Room, Logger: s.log})
	if err != nil {
		return nil, err
	}
	following, err := newFollowUps(store, s.proj, in, bodies, registry, s.log)
	if err != nil {
		return nil, err
	}
	again, err := newReplays(store, s.proj, bodies, keys, s.log)
	if err != nil {
		return nil, err
	}
	polls, err := agenfleet.New(agenfleet.Config{Store: store, Vault: keys, Ingest: in, Sources: s.proj.Directory(),
		Transport: delivery.NewTransport(cfg.Egress, s.log), Room: store.Room, Now: now, NewID: newID, Logger: s.log,
		Metrics: registry})
	if err != nil {
		return nil, err
	}
	refusals := ingest.NewRefusals(ingest.RefusalsConfig{Store: store, Vault: keys, Room: store.Room, Now: now,
		NewID: newID, Metrics: registry, Logger: s.log})
	texts := projections.NewTextSearch(projections.TextConfig{Dir: filepath.Join(cfg.DataDir, projectionsDir),
		Store: store, Directory: s.proj.Directory(), Vault: keys, Now: now, Logger: s.log})
	api := httpapi.Config{Refusals: refusals, Texts: texts, Store: store, Ingest: in, Polls: polls,
		Projections: s.proj, Replays: again, Vault: keys, Now: now, NewID: newID, Egress: cfg.Egress,
		Room: store.Room, Ready: s.ready, Space: func() (free, low uint64, known bool) { return spaceOf(store) },
		FollowUps: followUpsLate(following), Version: version, LedgerID: s.LedgerID,
		Logger: s.log, Registry: registry, HideMetrics: admin != nil}
	if deliver != nil {
		api.Dispatch = deliver
	}
	handler, err := httpapi.New(api)
	if err != nil {
		return nil, err
	}
	sites := map[net.Listener]http.Handler{listener: handler}
	if admin != nil {
		if sites[admin], err = httpapi.NewAdmin(api); err != nil {
			return nil, err
		}
	}

	s.run(deliver, again, sites)
	s.group.Go(func() error { return part("retire", s.following, retirer.Run) })
	if deliver != nil {
		s.followUp(following)
	}
	s.poll(polls)
	s.record(refusals)
	s.search(texts)
	s.URL = baseURL(listener, cfg.TLSCert != "")
	if err := s.bootstrap(ctx); err != nil {
		err = errors.Join(err, s.Close())
		s.closer = nil
		return nil, err
	}
	s.bootstrapped.Store(true)
	return s, nil
}

// run starts the parts. The followers outlive the delivery, and the delivery the API, when Close ends them in order.
func (s *server) run(deliver *delivery.Delivery, again nodeReplays, sites map[net.Listener]http.Handler) {
	var failed context.Context
	s.group, failed = errgroup.WithContext(context.Background())
	s.failed = failed
	followCtx, stopFollow := context.WithCancel(context.Background())
	deliverCtx, stopDelivery := context.WithCancel(context.Background())
	s.stopFollow, s.stopDelivery, s.following = stopFollow, stopDelivery, followCtx

	s.group.Go(func() error { return part("projections", followCtx, s.proj.Run) })
	if deliver != nil {
		s.drained = make(chan struct{})
		s.group.Go(func() error {
			defer close(s.drained)
			return part("delivery", deliverCtx, deliver.Run)
		})
		s.group.Go(func() error { return part("replays", deliverCtx, again.Run) })
	}
	s.group.Go(func() error {
		select {
		case <-s.store.Failed():
			return fmt.Errorf("the ledger's store failed, and this process must end: %w", s.store.Err())
		case <-followCtx.Done():
			return nil
		}
	})
	s.group.Go(func() error { return s.watchRoom(followCtx) })
	ending, stopStreams := context.WithCancel(context.Background())
	s.stopStreams = stopStreams
	for l, handler := range sites {
		h := &http.Server{Handler: endStreams(handler, ending), ReadHeaderTimeout: readHeaderTimeout,
			IdleTimeout:    idleTimeout,
			MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
		s.https = append(s.https, h)
		s.group.Go(func() error {
			if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve HTTP: %w", err)
			}
			return nil
		})
	}
}

// poll starts the pollers of sources, which fold what they know from the ledger.
func (s *server) poll(polls *agenfleet.Runner) {
	ctx, stop := context.WithCancel(context.Background())
	s.stopPolls, s.polled = stop, make(chan struct{})
	s.group.Go(func() error {
		defer close(s.polled)
		return part("sources", ctx, polls.Run)
	})
}

// record starts what writes the counts of refused posts.
func (s *server) record(refusals *ingest.Refusals) {
	ctx, stop := context.WithCancel(context.Background())
	s.stopRefusals, s.refused = stop, make(chan struct{})
	s.group.Go(func() error {
		defer close(s.refused)
		return part("refusals", ctx, refusals.Run)
	})
}

// search starts the follower of the indexes of texts.
func (s *server) search(texts *projections.TextSearch) {
	ctx, stop := context.WithCancel(context.Background())
	s.stopTexts = stop
	s.group.Go(func() error { return part("text search", ctx, texts.Run) })
}

// part runs one part until its context ends; an end of its own is a failure of the server.
func part(name string, ctx context.Context, run func(context.Context) error) error {
	err := run(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	if err == nil {
		err = errors.New("ended by itself")
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Wait returns when ctx ends (nil) or a part has failed (its error); Close must follow.
func (s *server) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.failed.Done():
		return context.Cause(s.failed)
	}
}

// Close ends the server in order: no more requests and polls, then no more attempts once the open ones have their
// outcome on the ledger, then the read models when they hold it all, then the stores. It returns what went wrong; a
// second call the same.
func (s *server) Close() error {
	s.closeOnce.Do(func() {
		s.stopStreams()
		ctx, cancel := context.WithTimeout(context.Background(), intakeGrace)
		for _, h := range s.https {
			if err := h.Shutdown(ctx); err != nil {
				_ = h.Close() // a stream that stays open is cut: its reader resumes
			}
		}
		cancel()
		s.stopPolls()
		<-s.polled
		s.stopRefusals()
		<-s.refused
		s.stopDelivery()
		if s.drained != nil {
			<-s.drained
			s.stopFollowUps()
			<-s.followedUp
		}
		s.catchUp()
		s.stopTexts()
		s.stopFollow()
		s.closeErr = errors.Join(s.group.Wait(), s.closer.close())
	})
	return s.closeErr
}

// catchUp lets the read models reach the ledger's end, so that the next start has nothing to fold. It is a courtesy:
// what they miss is folded then.
func (s *server) catchUp() {
	ctx, cancel := context.WithTimeout(context.Background(), catchUpGrace)
	defer cancel()
	if err := s.proj.WaitFor(ctx, s.store.Head()); err != nil {
		s.log.Warn("the read models did not catch up before the end; they will at the next start", "error", err)
	}
}

// ready says why the node can't serve, or nil.
func (s *server) ready() error {
	if !s.bootstrapped.Load() {
		return errors.New("still starting")
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	if err := s.store.Ready(ctx); err != nil {
		return err
	}
	for _, p := range s.proj.Status() {
		if p.Err != nil {
			return fmt.Errorf("projection %s stopped: %w", p.Name, p.Err)
		}
	}
	return nil
}
