package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// dial returns a connection to pushd's gRPC, and ctx with the caller's
// credential: the API key if there is one, else the client token.
func (c *call) dial(ctx context.Context) (context.Context, *grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if c.tls {
		transport = credentials.NewTLS(&tls.Config{})
	}
	secret, err := c.apiKey()
	if err == nil && secret == "" {
		secret, err = c.clientToken()
	}
	if err != nil {
		return nil, nil, err
	}
	if secret != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret)
	}
	cc, err := grpc.NewClient("passthrough:///"+c.grpc,
		grpc.WithTransportCredentials(transport),
		grpc.WithUserAgent("pushctl"),
		// A watch would not notice otherwise that the server's machine is gone.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// pushd refuses what is too large, and pages end at 3 MiB, but one message
		// may have 16 MiB.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20)))
	if err != nil {
		return nil, nil, usagef("-grpc: want host:port, got %q: %w", c.grpc, err)
	}
	return ctx, cc, nil
}

// ask makes calls over one connection, all of them within -timeout.
func (c *call) ask(ctx context.Context, calls func(ctx context.Context, cc *grpc.ClientConn) error) error {
	ctx, cc, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.explain(calls(ctx, cc))
}

// explain turns what gRPC says into what a person can act on. An error that is
// not gRPC's stays as it is.
func (c *call) explain(err error) error {
	s, ok := status.FromError(err)
	if !ok || err == nil {
		return err
	}
	text := s.Message()
	switch code := s.Code(); {
	case unreachable(s) && strings.Contains(text, "server preface"):
		return fmt.Errorf("%s (-grpc) does not speak gRPC the way this client does: is it pushd's gRPC port, and does it want -tls or not? (%s)", c.grpc, cause(text))
	case unreachable(s):
		return fmt.Errorf("cannot reach pushd at %s: is it running, and are -grpc, PUSHCTL_GRPC and -tls right? (%s)", c.grpc, cause(text))
	case code == codes.DeadlineExceeded:
		return fmt.Errorf("%s gave no answer within %v (-timeout); whether the call was carried out is unknown: retry, and give sends the same -idempotency-key", c.grpc, c.timeout)
	case code == codes.ResourceExhausted && strings.Contains(text, "larger than max"):
		return fmt.Errorf("a request is larger than pushd takes, which its -max-data bounds: %s", strings.TrimPrefix(text, "grpc: "))
	case code == codes.Unauthenticated:
		return fmt.Errorf("pushd refused the credential: %s; give an API key with -key-file or PUSHCTL_KEY", text)
	case code == codes.PermissionDenied:
		return fmt.Errorf("not allowed: %s", text)
	default:
		return fmt.Errorf("%v: %s", code, text)
	}
}

// unreachable reports whether the error is gRPC's own about the connection, and
// not pushd's answer.
func unreachable(s *status.Status) bool {
	return s.Code() == codes.Unavailable && (strings.Contains(s.Message(), "connection error: ") || strings.Contains(s.Message(), "name resolver error"))
}

// cause cuts the layers that gRPC puts around an error of the network.
func cause(text string) string {
	if _, after, ok := strings.Cut(text, `desc = "`); ok {
		text = strings.TrimSuffix(after, `"`)
	}
	return strings.TrimPrefix(text, "transport: Error while dialing: ")
}

// temporary reports whether the same call may succeed later.
func temporary(err error) bool {
	var r retriable
	return errors.As(err, &r) || status.Code(err) == codes.Unavailable
}

// retriable is an error after which a client tries again.
type retriable struct {
	error
	// atOnce asks for no more than a moment, after is the shortest pause.
	atOnce bool
	after  time.Duration
}

func (r retriable) Unwrap() error { return r.error }
