package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"pushd.example/internal/auth"
)

// guard stands before every call of both doors: it counts, recovers, maps
// errors to statuses, and lets in only who may. One function does it all in a
// fixed order, so that no door can leave a part out.
type guard struct {
	auth    Authenticator
	log     *slog.Logger
	metrics *metrics
	rules   map[string]rule // by full method name
}

func newGuard(a Authenticator, log *slog.Logger, reg prometheus.Registerer) (*guard, error) {
	rules := newRules()
	m, err := newMetrics(reg, rules)
	if err != nil {
		return nil, err
	}
	return &guard{auth: a, log: log, metrics: m, rules: rules}, nil
}

// run calls serve if the caller of method may make this call. req is nil for a
// stream, whose requests come later. The error it returns is a status.
func (g *guard) run(ctx context.Context, method string, req any, serve func(context.Context, auth.Caller) error) error {
	return g.watch(ctx, method, func(ctx context.Context) error {
		caller, err := g.admit(ctx, method, req)
		if err != nil {
			return err
		}
		return serve(ctx, caller)
	})
}

// watch calls serve, counts what comes of it, recovers, and turns its error
// into a status.
func (g *guard) watch(ctx context.Context, method string, serve func(context.Context) error) (err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = g.panicked(ctx, method, p)
		}
		err = g.toStatus(ctx, method, err)
		g.metrics.done(method, status.Code(err), time.Since(start))
	}()
	return serve(ctx)
}

func (g *guard) admit(ctx context.Context, method string, req any) (caller auth.Caller, err error) {
	r, known := g.rules[method]
	switch {
	case !known:
		return caller, denied("this method is not open to anybody")
	case r.open:
		return caller, nil
	}
	if caller, err = g.caller(ctx); err != nil {
		return caller, err
	}
	if err := g.spend(caller); err != nil {
		return caller, err
	}
	if err := r.permit(caller); err != nil || req == nil {
		return caller, err
	}
	return caller, permitRequest(caller, req)
}

// caller says who makes the call.
func (g *guard) caller(ctx context.Context) (auth.Caller, error) {
	bearer, err := bearer(ctx)
	if err != nil {
		return auth.Caller{}, err
	}
	return g.auth.API(bearer)
}

// panicked turns a panic into this call's failure; the process goes on.
func (g *guard) panicked(ctx context.Context, method string, p any) error {
	g.metrics.panics.Inc()
	g.log.ErrorContext(ctx, "panic in a call", "method", method, "request_id", requestID(ctx),
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return errPanic
}

// unary is the guard as gRPC calls it.
func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	var resp any
	err := g.run(ctx, info.FullMethod, req, func(ctx context.Context, _ auth.Caller) (err error) {
		resp, err = handler(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// stream is the guard as gRPC calls it for streams: when one begins, and then
// for each request.
func (g *guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return g.run(ss.Context(), info.FullMethod, nil, func(ctx context.Context, caller auth.Caller) error {
		s := &guardedStream{ServerStream: ss, caller: caller, ctx: ctx}
		if !caller.Expires.IsZero() {
			var cancel context.CancelFunc
			s.ctx, cancel = context.WithDeadlineCause(ctx, caller.Expires, auth.ErrExpired)
			defer cancel()
		}
		err := handler(srv, s)
		if errors.Is(context.Cause(s.ctx), auth.ErrExpired) {
			return auth.ErrExpired
		}
		return err
	})
}

// guardedStream is a stream as its handler sees it: what it receives is what
// the caller may ask for, and its context ends when the caller's token does.
type guardedStream struct {
	grpc.ServerStream
	caller auth.Caller
	ctx    context.Context
}

func (s *guardedStream) Context() context.Context { return s.ctx }

func (s *guardedStream) RecvMsg(req any) error {
	if err := s.ServerStream.RecvMsg(req); err != nil {
		return err
	}
	return permitRequest(s.caller, req)
}

// requestID returns what the caller calls this request, for the log.
func requestID(ctx context.Context) string {
	if ids := metadata.ValueFromIncomingContext(ctx, requestIDKey); len(ids) > 0 {
		return ids[0]
	}
	return ""
}

const requestIDKey = "x-request-id"
