package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
)

// Issuer makes client tokens.
type Issuer interface {
	// Issue returns a token for user that is valid until expires. Errors:
	// auth.ErrNoTokenKey, auth.ErrUser.
	Issue(user string, expires time.Time) (string, error)
}

const (
	minTokenTTL     = time.Second
	defaultTokenTTL = time.Hour
)

// tokens is TokenService.
type tokens struct {
	pushv1.UnimplementedTokenServiceServer

	issuer Issuer
	maxTTL time.Duration
}

// Issue implements pushv1.TokenServiceServer.
func (s *tokens) Issue(_ context.Context, req *pushv1.IssueRequest) (*pushv1.IssueResponse, error) {
	if err := checkUser("user", req.GetUser()); err != nil {
		return nil, err
	}
	ttl, err := checkTokenTTL(req.GetTtl(), s.maxTTL)
	if err != nil {
		return nil, err
	}
	// A token's exp is in whole seconds. Rounding up gives no less than was asked
	// for.
	expires := time.Now().Add(ttl + time.Second - 1).Truncate(time.Second)
	token, err := s.issuer.Issue(req.GetUser(), expires)
	switch {
	case errors.Is(err, auth.ErrUser):
		return nil, &FieldError{"user", err.Error()}
	case err != nil:
		return nil, fmt.Errorf("issuing: %w", err)
	}
	return &pushv1.IssueResponse{Token: token, Expires: timestamppb.New(expires)}, nil
}

func checkTokenTTL(d *durationpb.Duration, most time.Duration) (time.Duration, error) {
	if d == nil {
		return min(defaultTokenTTL, most), nil
	}
	return checkDuration("ttl", d, minTokenTTL, most)
}

// inProcessTokens is TokenService for the gateway; see inProcess.
type inProcessTokens struct {
	pushv1.UnimplementedTokenServiceServer
	*inProcess
	svc pushv1.TokenServiceServer
}

// Issue implements pushv1.TokenServiceServer.
func (l *inProcessTokens) Issue(ctx context.Context, req *pushv1.IssueRequest) (*pushv1.IssueResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.TokenService_Issue_FullMethodName, req, l.svc.Issue)
}
