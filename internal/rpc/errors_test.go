package rpc

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// sentinel is what a caller sees of one error.
type sentinel struct {
	name    string // package and variable; empty: not a sentinel of ours
	err     error
	code    codes.Code
	http    int
	message string // "" means the error's own
	retry   string // Retry-After
}

var sentinels = []sentinel{
	{"history.ErrUser", history.ErrUser, codes.InvalidArgument, 400, "", ""},
	{"history.ErrGroup", history.ErrGroup, codes.InvalidArgument, 400, "", ""},
	{"history.ErrCursor", history.ErrCursor, codes.InvalidArgument, 400, "after: reading: bad cursor", ""},
	{"watch.ErrPosition", watch.ErrPosition, codes.InvalidArgument, 400, "after: reading: bad position", ""},
	{"history.ErrID", history.ErrID, codes.InvalidArgument, 400, "after: reading: bad message id", ""},
	{"history.ErrNotFound", history.ErrNotFound, codes.NotFound, 404, "id: no message has this id, or retention has dropped it", ""},
	{"history.ErrReadOnly", history.ErrReadOnly, codes.Unavailable, 503, "history is read-only: the store cannot write", "5"},
	{"history.ErrUnavailable", history.ErrUnavailable, codes.Unavailable, 503, "history is unavailable; nothing was done", "1"},
	{"history.ErrUnknown", history.ErrUnknown, codes.Unavailable, 503, "whether it was done is unknown: do it again, a send with the same idempotency_key", "1"},
	{"history.ErrClosed", history.ErrClosed, codes.Unavailable, 503, "this node is shutting down", "1"},
	{"history.ErrLocked", history.ErrLocked, codes.Unavailable, 503, "history is not open", "5"},
	{"auth.ErrNoCredential", auth.ErrNoCredential, codes.Unauthenticated, 401, "", ""},
	{"auth.ErrBadCredential", auth.ErrBadCredential, codes.Unauthenticated, 401, "", ""},
	{"auth.ErrExpired", auth.ErrExpired, codes.Unauthenticated, 401, "", ""},
	{"auth.ErrNoTokenKey", auth.ErrNoTokenKey, codes.FailedPrecondition, 400, "no client tokens here: -token-key-file is not set", ""},
	{"auth.ErrUser", auth.ErrUser, codes.InvalidArgument, 400, "", ""},
	{"auth.ErrNoKeys", auth.ErrNoKeys, codes.Internal, 500, "internal error", ""},

	{"", fmt.Errorf("%w: %w", history.ErrUnknown, history.ErrUnavailable), codes.Unavailable, 503, "whether it was done is unknown: do it again, a send with the same idempotency_key", "1"},
	{"", errDraining, codes.Unavailable, 503, "this node is shutting down; what has no reply was not carried out", "1"},
	{"", context.Canceled, codes.Canceled, 499, "canceled; whether the call was carried out is unknown", ""},
	{"", context.DeadlineExceeded, codes.DeadlineExceeded, 504, "the deadline passed; whether the call was carried out is unknown", ""},
	{"", errors.New("disk /var/lib/secret"), codes.Internal, 500, "internal error", ""},
	{"", status.Error(codes.DataLoss, "of a dependency"), codes.Internal, 500, "internal error", ""},
}

// TestErrorMapping lets the store fail with each error and looks at both doors.
func TestErrorMapping(t *testing.T) {
	var failure atomic.Pointer[error]
	r := newRig(t, breaking(func() error { return *failure.Load() }))
	for _, s := range sentinels {
		failed := fmt.Errorf("reading: %w", s.err)
		failure.Store(&failed)
		want := s.message
		if want == "" {
			want = "reading a page: " + failed.Error()
		}

		_, err := r.push.History(r.as(keyAll), &pushv1.HistoryRequest{User: "42", After: "0"})
		p := grpcProblem(t, err)
		equal(t, s.err.Error()+": gRPC code", p.Code, s.code)
		equal(t, s.err.Error()+": gRPC message", p.Message, want)

		re := r.rest(keyAll, "GET", "/v1/users/42/history?after=0", "")
		p = re.problem(t)
		equal(t, s.err.Error()+": REST status", re.status, s.http)
		equal(t, s.err.Error()+": REST code", p.Code, s.code)
		equal(t, s.err.Error()+": REST message", p.Message, want)
		equal(t, s.err.Error()+": Retry-After", re.header.Get("Retry-After"), s.retry)
		if s.retry != "" {
			equal(t, s.err.Error()+": detail", p.Details[0].RetryDelay, s.retry+"s")
		}
	}
	contains(t, "log", r.log.String(), "disk /var/lib/secret")
	contains(t, "log", r.log.String(), "method=/push.v1.PushService/History")
}

// TestEverySentinelHasARow reads the sources for exported errors, so that a new
// one cannot be forgotten.
func TestEverySentinelHasARow(t *testing.T) {
	rows := map[string]bool{}
	for _, s := range sentinels {
		rows[s.name] = true
	}
	for _, pkg := range []string{"history", "auth"} {
		names := exportedErrors(t, pkg)
		if len(names) < 3 {
			t.Fatalf("%s: found only %v", pkg, names)
		}
		for _, name := range names {
			if !rows[pkg+"."+name] {
				t.Errorf("%s.%s has no row in sentinels (and in meanings?)", pkg, name)
			}
		}
	}
	for _, m := range meanings {
		if !rowFor(m.err) {
			t.Errorf("%v is mapped but not tested", m.err)
		}
	}
}

func rowFor(err error) bool {
	for _, s := range sentinels {
		if errors.Is(s.err, err) {
			return true
		}
	}
	return false
}

// exportedErrors returns the package variables named Err….
func exportedErrors(t *testing.T, pkg string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
	must(t, err)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		must(t, err)
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR {
				continue
			}
			for _, spec := range gen.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

// TestDeadline: a store that waits does not hold the caller past its deadline,
// at either door.
func TestDeadline(t *testing.T) {
	r := newRig(t, options{store: func(s history.Store) history.Store { return waiting{s} }})
	ctx, cancel := context.WithTimeout(r.as(keyAll), 50*time.Millisecond)
	defer cancel()
	_, err := r.push.Unicast(ctx, &pushv1.UnicastRequest{User: "42", Data: hi})
	equal(t, "gRPC code", status.Code(err), codes.DeadlineExceeded)

	re := r.rest(keyAll, "POST", "/v1/unicast", `{"user":"42","data":1}`, "Grpc-Timeout", "50m")
	equal(t, "REST status", re.status, 504)
	equal(t, "REST code", re.problem(t).Code, codes.DeadlineExceeded)
}

// waiting is a store whose Append waits until its context ends.
type waiting struct{ history.Store }

func (waiting) Append(ctx context.Context, _ history.Push) (history.AppendResult, error) {
	<-ctx.Done()
	return history.AppendResult{}, ctx.Err()
}
