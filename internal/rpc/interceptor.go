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
	"google.golang.org/protobuf/proto"

	"pushd.example/internal/auth"
)

// interceptor runs around every call, of gRPC and of REST: it authenticates and
// authorizes the caller, holds API keys to their rates, recovers from panics, maps
// errors to statuses, and counts. One function does it all in a fixed order, so
// that neither API can leave a step out.
type interceptor struct {
	auth    Authenticator
	log     *slog.Logger
	metrics *metrics
	budget  *budget
	rules   map[string]rule // by full method name
}

func newInterceptor(a Authenticator, limits Limits, log *slog.Logger, reg prometheus.Registerer) (*interceptor, error) {
	rules := newRules(limits)
	m, err := newMetrics(reg, rules)
	if err != nil {
		return nil, err
	}
	b, err := newBudget(reg)
	if err != nil {
		return nil, fmt.Errorf("rpc: registering metrics: %w", err)
	}
	return &interceptor{auth: a, log: log, metrics: m, budget: b, rules: rules}, nil
}

// run calls serve if the caller may call method with req. req is nil for a stream,
// whose requests come later. The error it returns is a status.
func (i *interceptor) run(ctx context.Context, method string, req any, serve func(context.Context, auth.Caller) error) error {
	return i.observe(ctx, method, func(ctx context.Context) error {
		caller, err := i.admit(ctx, method, req)
		if err != nil {
			return err
		}
		if caller.User != "" {
			ctx = context.WithValue(ctx, ownTokenKey{}, true)
		}
		return serve(ctx, caller)
	})
}

type ownTokenKey struct{}

// byOwnToken reports whether the caller has a client token, no API key.
func byOwnToken(ctx context.Context) bool { return ctx.Value(ownTokenKey{}) != nil }

// reserve reserves what an answer of method to caller may take, and more bytes.
func (i *interceptor) reserve(ctx context.Context, method string, caller auth.Caller, more int) (*reservation, error) {
	return i.budget.reserve(ctx, caller, i.rules[method].answerTo(caller)+more)
}

// observe calls serve, recovers if it panics, counts the result, and maps the
// error to a status.
func (i *interceptor) observe(ctx context.Context, method string, serve func(context.Context) error) (err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = i.panicked(ctx, method, p)
		}
		err = i.toStatus(ctx, method, err)
		i.metrics.done(method, status.Code(err), time.Since(start))
	}()
	return serve(ctx)
}

func (i *interceptor) admit(ctx context.Context, method string, req any) (caller auth.Caller, err error) {
	r, known := i.rules[method]
	switch {
	case !known:
		return caller, denied("nobody may call this method")
	case r.open:
		return caller, nil
	}
	if caller, err = i.caller(ctx); err != nil {
		return caller, err
	}
	if err := i.spend(caller); err != nil {
		return caller, err
	}
	if err := r.permit(caller); err != nil || req == nil {
		return caller, err
	}
	return caller, permitRequest(caller, req)
}

// caller returns the caller that the call's credential stands for.
func (i *interceptor) caller(ctx context.Context) (auth.Caller, error) {
	bearer, err := bearer(ctx)
	if err != nil {
		return auth.Caller{}, err
	}
	return i.auth.API(bearer)
}

// panicked logs and counts a panic. It returns the error of the call that
// panicked; the process continues.
func (i *interceptor) panicked(ctx context.Context, method string, p any) error {
	i.metrics.panics.Inc()
	i.log.ErrorContext(ctx, "panic in a call", "method", method, "request_id", requestID(ctx),
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return errPanic
}

// unary implements grpc.UnaryServerInterceptor.
func (i *interceptor) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	var resp any
	var held *reservation
	err := i.run(ctx, info.FullMethod, req, func(ctx context.Context, caller auth.Caller) (err error) {
		if held, err = i.reserve(ctx, info.FullMethod, caller, 0); err != nil {
			return err
		}
		resp, err = handler(ctx, req)
		return err
	})
	switch m, ok := resp.(proto.Message); {
	case err != nil:
		held.free()
		return nil, err
	case ok && held != nil:
		return reserved{m, held}, nil // until it is written
	}
	return resp, nil
}

// stream implements grpc.StreamServerInterceptor. The requests that the stream
// receives are checked one by one, by interceptedStream.
func (i *interceptor) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return i.run(ss.Context(), info.FullMethod, nil, func(ctx context.Context, caller auth.Caller) error {
		held, err := i.reserve(ctx, info.FullMethod, caller, 0)
		if err != nil {
			return err
		}
		defer held.free()
		s := &interceptedStream{ServerStream: ss, budget: i.budget, caller: caller, ctx: ctx}
		if !caller.Expires.IsZero() {
			var cancel context.CancelFunc
			s.ctx, cancel = context.WithDeadlineCause(ctx, caller.Expires, auth.ErrExpired)
			defer cancel()
		}
		err = handler(srv, s)
		if errors.Is(context.Cause(s.ctx), auth.ErrExpired) {
			return auth.ErrExpired
		}
		return err
	})
}

// interceptedStream is a stream as its handler sees it. A request that the caller
// may not make is an error of RecvMsg, and the context ends when the caller's token
// expires.
type interceptedStream struct {
	grpc.ServerStream
	budget *budget
	caller auth.Caller
	ctx    context.Context
}

func (s *interceptedStream) Context() context.Context { return s.ctx }

func (s *interceptedStream) RecvMsg(req any) error {
	if err := s.ServerStream.RecvMsg(req); err != nil {
		return err
	}
	return permitRequest(s.caller, req)
}

// SendMsg reserves a large message until it is written. Of small ones gRPC takes at
// most 64 KiB that are not written.
func (s *interceptedStream) SendMsg(resp any) error {
	const large = 4 << 10
	m, ok := resp.(proto.Message)
	if !ok {
		return s.ServerStream.SendMsg(resp)
	}
	n := proto.Size(m)
	if n < large {
		return s.ServerStream.SendMsg(resp)
	}
	held, err := s.budget.reserve(s.ctx, s.caller, n)
	if err != nil {
		return err
	}
	return s.ServerStream.SendMsg(reserved{m, held})
}

// requestID returns the caller's own id of this request, for the log.
func requestID(ctx context.Context) string {
	if ids := metadata.ValueFromIncomingContext(ctx, requestIDKey); len(ids) > 0 {
		return ids[0]
	}
	return ""
}

const requestIDKey = "x-request-id"
