package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"pushd.example/internal/netlimit"
)

// door is one of the addresses that a node serves.
type door struct {
	// name is the setting that says where it is.
	name string
	addr net.Addr
	// serve returns nil once stop was called.
	serve func() error
	// stop lets no new work in, waits for what runs until ctx ends, then cuts
	// it off.
	stop func(ctx context.Context) error
}

// doors are opened together and closed side by side, so that a slow caller at one
// does not delay the others: clients are told to reconnect at once. What is pushed
// meanwhile is stored, and they read it elsewhere. The last door, the operators', is
// closed when the others are.
type doors []door

// serve returns once ctx has ended and every door is closed, or a door failed
// and the others are closed. draining is called when the end begins.
func (ds doors) serve(ctx context.Context, log *slog.Logger, drainTimeout time.Duration, draining func()) error {
	failed := make(chan error, len(ds))
	for _, d := range ds {
		go func() {
			err := d.serve()
			if err != nil {
				err = fmt.Errorf("serving -%s: %w", d.name, err)
			}
			failed <- err
		}()
	}
	var errs []error
	running := len(ds)
	select {
	case <-ctx.Done():
		log.Info("draining", "timeout", drainTimeout)
	case err := <-failed:
		running--
		errs = append(errs, err)
	}
	draining()
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	end := func(d door) {
		if err := d.stop(ctx); err != nil {
			log.Warn("drain cut short", "door", d.name, "err", err)
		}
	}
	last := len(ds) - 1
	var ending sync.WaitGroup
	for _, d := range ds[:last] {
		ending.Go(func() { end(d) })
	}
	ending.Wait()
	end(ds[last])
	for range running {
		errs = append(errs, <-failed)
	}
	log.Info("stopped")
	return errors.Join(errs...)
}

// bind opens a TCP listener for at most connections at the address in the setting
// called name.
func bind(ctx context.Context, name, addr string, connections int, metrics *netlimit.Metrics) (*netlimit.Listener, error) {
	ln, err := netlimit.Listen(ctx, addr, netlimit.Config{Name: name, Max: connections, Metrics: metrics})
	if err != nil {
		return nil, fmt.Errorf("binding -%s: %w", name, err)
	}
	return ln, nil
}

// httpDoor serves h over HTTP on ln, which gives up answers that nobody reads.
func httpDoor(name string, ln *netlimit.Listener, h http.Handler, log *slog.Logger) door {
	srv := &http.Server{
		Handler:   h,
		ConnState: ln.ConnState,
		// These bound requests, not answers: ListEvents may wait for 30 s, and a
		// profile takes as long as its caller asks for.
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return door{
		name: name, addr: ln.Addr(),
		serve: func() error {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		stop: func(ctx context.Context) error {
			if err := srv.Shutdown(ctx); err != nil {
				return errors.Join(err, srv.Close())
			}
			return nil
		},
	}
}

// grpcDoor serves srv on ln.
func grpcDoor(name string, ln net.Listener, srv *grpc.Server) door {
	return door{
		name: name, addr: ln.Addr(),
		serve: func() error { return srv.Serve(ln) },
		stop: func(ctx context.Context) error {
			defer context.AfterFunc(ctx, srv.Stop)()
			// GracefulStop waits for calls without a limit; Stop ends it when ctx does.
			srv.GracefulStop()
			return ctx.Err()
		},
	}
}
