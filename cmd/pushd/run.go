package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc/grpclog"

	"pushd.example/internal/auth"
	"pushd.example/internal/conn"
	"pushd.example/internal/netlimit"
	"pushd.example/internal/rpc"
)

// run is the program: args without the program's name, output to stdout. It
// returns when ctx ends and everything is shut down, or with the error that
// kept it from running.
func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		if args[0] != "check-config" {
			return fmt.Errorf("unknown command %q: want check-config, or flags only; pushctl listens, sends and makes tokens", args[0])
		}
		return runCheckConfig(args[1:], getenv, stdout)
	}
	l := newLoader()
	if err := l.load(args, getenv, stdout); err != nil {
		return err
	}
	if l.checkOnly {
		return l.check(stdout)
	}
	return serve(ctx, l.cfg.named(), stdout)
}

// serve wires the rooms together, from the store outwards, and takes them
// apart in the opposite order.
func serve(ctx context.Context, cfg config, stdout io.Writer) error {
	log := newLogger(cfg, stdout)
	for _, text := range cfg.warnings() {
		log.Warn(text)
	}
	// gRPC logs clients that disconnect in mid-call, which is no event for operators.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer()))
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	// Credentials come first: a wrong key file is reported before the store, which
	// may take seconds to open, is touched.
	credentials, err := auth.New(cfg.auth(log))
	if err != nil {
		return err
	}
	store, err := cfg.open(ctx, log, metrics)
	if err != nil {
		return err
	}
	defer func() {
		if err := store.Close(); err != nil {
			log.Error("closing the history", "err", err)
		}
	}()
	// New binds -listen but accepts nobody until Serve.
	clients, err := conn.New(cfg.conn(store, credentials, log, metrics))
	if err != nil {
		return err
	}
	directory, leave, err := cfg.directory(store, clients, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := leave(); err != nil {
			log.Error("leaving the other nodes", "err", err)
		}
	}()
	backends, err := rpc.New(cfg.rpc(store, directory, clients, credentials, log, metrics))
	if err != nil {
		return err
	}

	bounds, err := netlimit.NewMetrics(metrics)
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	// All addresses are bound before any is served: if one is taken, no client has
	// connected in vain.
	api, err := bind(ctx, "grpc", cfg.GRPC, cfg.backendConnections(), bounds)
	if err != nil {
		return err
	}
	rest, err := bind(ctx, "http", cfg.HTTP, cfg.backendConnections(), bounds)
	if err != nil {
		return err
	}
	admin, err := bind(ctx, "admin", cfg.Admin, maxOperators, bounds)
	if err != nil {
		return err
	}

	var draining atomic.Bool
	ready := func() error {
		if draining.Load() {
			return errDraining
		}
		return store.Ready()
	}
	// Backends are stopped before clients, so that accepted messages still reach
	// them; the admin door is last, so that /readyz tells that the node drains.
	ds := doors{
		grpcDoor("grpc", api, backends.GRPC()),
		httpDoor("http", rest, backends.REST(), log),
		{name: "listen", addr: clients.Addr(), serve: clients.Serve, stop: clients.Shutdown},
		httpDoor("admin", admin, adminHandler(metrics, ready), log),
	}
	defer reloadOnHangup(credentials, log)()
	// The sockets queue connections from here on, before serve accepts them, so the
	// ready file may be written.
	backends.SetServing(true)
	if err := announce(cfg, ds, log, stdout); err != nil {
		return err
	}
	return ds.serve(ctx, log, cfg.DrainTimeout, func() {
		draining.Store(true)
		backends.Drain()
	})
}

var errDraining = errors.New("draining: this node is shutting down")

// reloadOnHangup reads the credential files again at every SIGHUP, until stop
// is called: keys are rotated without a restart.
func reloadOnHangup(credentials *auth.Auth, log *slog.Logger) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for range hangup {
			if err := credentials.Reload(); err != nil {
				log.Error("keeping the old credentials", "err", err)
				continue
			}
			log.Info("credentials read again")
		}
	}()
	return func() { signal.Stop(hangup); close(hangup) }
}

func newLogger(cfg config, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
