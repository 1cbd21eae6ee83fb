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

// errPanic is the error of a call that panicked. The interceptor has logged the
// panic.
var errPanic = errors.New("the call panicked")

// denied says why a known caller may not make a call.
type denied string

func (d denied) Error() string { return string(d) }

// tooLarge is a REST body over the limit, in bytes. gRPC's own check for a message
// over the limit answers with the same code.
type tooLarge struct {
	limit int
	size  int64 // Content-Length; -1 if the request has none
}

func (e tooLarge) Error() string {
	if e.size < 0 {
		return fmt.Sprintf("body: at most %d bytes, got more", e.limit)
	}
	return fmt.Sprintf("body: at most %d bytes, got %d", e.limit, e.size)
}

const internalError = "internal error"

// errorMapping maps a sentinel of another package to a status.
type errorMapping struct {
	err  error
	code codes.Code
	// text replaces the error's own text where that is about this machine (paths,
	// system calls) and not about the request. Empty: the error's own text.
	text string
	// retry is the delay after which another try may succeed; 0 gives no hint.
	retry time.Duration
}

// errorMappings holds every sentinel of history and auth.
var errorMappings = []errorMapping{
	// The first row, because such an error also wraps what stopped the push
	// halfway, which may be a sentinel below.
	{err: history.ErrUnknown, code: codes.Unavailable, text: "the outcome is unknown; retry, and give sends the same idempotency_key", retry: time.Second},
	{err: history.ErrUser, code: codes.InvalidArgument},
	{err: history.ErrGroup, code: codes.InvalidArgument},
	{err: history.ErrCursor, code: codes.InvalidArgument},
	{err: watch.ErrPosition, code: codes.InvalidArgument},
	{err: history.ErrID, code: codes.InvalidArgument},
	{err: history.ErrNotFound, code: codes.NotFound, text: "id: no message has this id, or retention has dropped it"},
	{err: history.ErrReadOnly, code: codes.Unavailable, text: "history is read-only: the store cannot write", retry: 5 * time.Second},
	{err: history.ErrUnavailable, code: codes.Unavailable, text: "history is unavailable; nothing was done", retry: time.Second},
	{err: history.ErrClosed, code: codes.Unavailable, text: "this node is shutting down", retry: time.Second},
	{err: history.ErrLocked, code: codes.Unavailable, text: "history is not open", retry: 5 * time.Second},

	{err: auth.ErrNoCredential, code: codes.Unauthenticated},
	{err: auth.ErrBadCredential, code: codes.Unauthenticated},
	{err: auth.ErrExpired, code: codes.Unauthenticated},
	{err: auth.ErrNoTokenKey, code: codes.FailedPrecondition, text: auth.ErrNoTokenKey.Error()},
	{err: auth.ErrUser, code: codes.InvalidArgument},
	{err: auth.ErrNoKeys, code: codes.Internal, text: internalError},

	{err: errDraining, code: codes.Unavailable, text: "this node is shutting down; requests without a reply were not carried out", retry: time.Second},
	{err: context.DeadlineExceeded, code: codes.DeadlineExceeded, text: "the deadline passed; whether the call was carried out is unknown"},
	{err: context.Canceled, code: codes.Canceled, text: "canceled; whether the call was carried out is unknown"},
}

func (m errorMapping) status(err error) error {
	text := m.text
	if text == "" {
		text = err.Error()
	}
	if m.retry == 0 {
		return status.Error(m.code, text)
	}
	return withDetail(m.code, text, &errdetails.RetryInfo{RetryDelay: durationpb.New(m.retry)})
}

// toStatus is the one place that turns errors into gRPC statuses. It logs an
// error that it does not know in full, and tells the caller nothing of it.
func (i *interceptor) toStatus(ctx context.Context, method string, err error) error {
	if err == nil {
		return nil
	}
	// An error that is a status comes from gRPC itself (health, reflection, a
	// broken stream). An error that wraps one comes from a dependency, and its
	// code means nothing to our callers.
	if _, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return err
	}
	if st := faultStatus(err); st != nil {
		return st
	}
	if st := subscriptionStatus(err); st != nil {
		return st
	}
	for _, m := range errorMappings {
		if errors.Is(err, m.err) {
			return m.status(err)
		}
	}
	if !errors.Is(err, errPanic) {
		i.log.ErrorContext(ctx, "internal error in a call", "method", method, "request_id", requestID(ctx), "error", err)
	}
	return status.Error(codes.Internal, internalError)
}

// faultStatus maps this package's own errors. All of them are about the request.
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
	if over, ok := errors.AsType[overBudget](err); ok {
		return withDetail(codes.ResourceExhausted, over.Error(), &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
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
