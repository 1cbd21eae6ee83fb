package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"pushd.example/internal/auth"
	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// errPanic is what a call that panicked failed with; the guard has logged it.
var errPanic = errors.New("the call panicked")

// denied is why a known caller may not make a call.
type denied string

func (d denied) Error() string { return string(d) }

// tooLarge is a REST body over the limit, in bytes. gRPC's own check answers
// with the same code.
type tooLarge struct {
	limit int
	size  int64 // as announced, -1 if it was not
}

func (e tooLarge) Error() string {
	if e.size < 0 {
		return fmt.Sprintf("body: at most %d bytes, got more", e.limit)
	}
	return fmt.Sprintf("body: at most %d bytes, got %d", e.limit, e.size)
}

const internalError = "internal error"

// meaning is what a sentinel of another package means to a caller.
type meaning struct {
	err  error
	code codes.Code
	// say is shown instead of the error's own text. It is set where that text
	// is about this machine (paths, system calls) and not about what the
	// caller sent.
	say string
	// retry is when another try may succeed; 0 gives no hint.
	retry time.Duration
}

// meanings holds every sentinel of history and auth.
var meanings = []meaning{
	// First, since what stopped a push halfway is in the error too.
	{err: history.ErrUnknown, code: codes.Unavailable, say: "whether it was done is unknown: do it again, a send with the same idempotency_key", retry: time.Second},
	{err: history.ErrUser, code: codes.InvalidArgument},
	{err: history.ErrGroup, code: codes.InvalidArgument},
	{err: history.ErrCursor, code: codes.InvalidArgument},
	{err: watch.ErrPosition, code: codes.InvalidArgument},
	{err: history.ErrID, code: codes.InvalidArgument},
	{err: history.ErrNotFound, code: codes.NotFound, say: "id: no message has this id, or retention has dropped it"},
	{err: history.ErrReadOnly, code: codes.Unavailable, say: "history is read-only: the store cannot write", retry: 5 * time.Second},
	{err: history.ErrUnavailable, code: codes.Unavailable, say: "history is unavailable; nothing was done", retry: time.Second},
	{err: history.ErrClosed, code: codes.Unavailable, say: "this node is shutting down", retry: time.Second},
	{err: history.ErrLocked, code: codes.Unavailable, say: "history is not open", retry: 5 * time.Second},

	{err: auth.ErrNoCredential, code: codes.Unauthenticated},
	{err: auth.ErrBadCredential, code: codes.Unauthenticated},
	{err: auth.ErrExpired, code: codes.Unauthenticated},
	{err: auth.ErrNoTokenKey, code: codes.FailedPrecondition, say: auth.ErrNoTokenKey.Error()},
	{err: auth.ErrUser, code: codes.InvalidArgument},
	{err: auth.ErrNoKeys, code: codes.Internal, say: internalError},

	{err: errDraining, code: codes.Unavailable, say: "this node is shutting down; what has no reply was not carried out", retry: time.Second},
	{err: context.DeadlineExceeded, code: codes.DeadlineExceeded, say: "the deadline passed; whether the call was carried out is unknown"},
	{err: context.Canceled, code: codes.Canceled, say: "canceled; whether the call was carried out is unknown"},
}

func (m meaning) status(err error) error {
	text := m.say
	if text == "" {
		text = err.Error()
	}
	if m.retry == 0 {
		return status.Error(m.code, text)
	}
	return withDetail(m.code, text, &errdetails.RetryInfo{RetryDelay: durationpb.New(m.retry)})
}

// toStatus is the one place that turns errors into gRPC's statuses. What it
// does not know is logged in full and shown to nobody.
func (g *guard) toStatus(ctx context.Context, method string, err error) error {
	if err == nil {
		return nil
	}
	// Only a bare status is one of gRPC's own (of health, reflection, a broken
	// stream); a wrapped one is some dependency's and means nothing here.
	if _, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return err
	}
	if st := faultStatus(err); st != nil {
		return st
	}
	if st := subscriptionStatus(err); st != nil {
		return st
	}
	for _, m := range meanings {
		if errors.Is(err, m.err) {
			return m.status(err)
		}
	}
	if !errors.Is(err, errPanic) {
		g.log.ErrorContext(ctx, "internal error in a call", "method", method, "request_id", requestID(ctx), "error", err)
	}
	return status.Error(codes.Internal, internalError)
}

// faultStatus maps this package's own errors, which are all about the request.
func faultStatus(err error) error {
	if field, ok := errors.AsType[*FieldError](err); ok {
		return withDetail(codes.InvalidArgument, field.Error(), &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field.Field, Description: field.Problem}},
		})
	}
	if no, ok := errors.AsType[denied](err); ok {
		return status.Error(codes.PermissionDenied, no.Error())
	}
	if over, ok := errors.AsType[overRate](err); ok {
		return withDetail(codes.ResourceExhausted, over.Error(), &errdetails.RetryInfo{RetryDelay: durationpb.New(over.wait)})
	}
	if large, ok := errors.AsType[tooLarge](err); ok {
		return status.Error(codes.ResourceExhausted, large.Error())
	}
	return nil
}

// withDetail returns a status with one detail.
func withDetail(code codes.Code, text string, detail protoadapt.MessageV1) error {
	st := status.New(code, text)
	if with, err := st.WithDetails(detail); err == nil {
		st = with
	}
	return st.Err()
}
