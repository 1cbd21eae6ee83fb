package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
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

// doors are opened together and closed in their order: first those that work
// comes in by, so that what was accepted is still delivered.
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
	for _, d := range ds {
		if err := d.stop(ctx); err != nil {
			log.Warn("drain cut short", "door", d.name, "err", err)
		}
	}
	for range running {
		errs = append(errs, <-failed)
	}
	log.Info("stopped")
	return errors.Join(errs...)
}

// bind opens a TCP listener at the address in the setting called name.
func bind(name, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("binding -%s: %w", name, err)
	}
	return ln, nil
}

// httpDoor serves h over HTTP on ln.
func httpDoor(name string, ln net.Listener, h http.Handler, log *slog.Logger) door {
	srv := &http.Server{
		Handler: h,
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
