//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pushv1 "pushd.example/api/push/v1"
)

// rpc publishes with unary gRPC calls over a connection that callers share, as
// a backend's would.
type rpc struct {
	client  pushv1.PushServiceClient
	names   userNames
	users   int
	timeout time.Duration
	key     string // the API key, or ""
}

// dialRPC connects when the first call is made.
func dialRPC(host string, secure bool) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if secure {
		creds = credentials.NewTLS(nil)
	}
	c, err := grpc.NewClient(host, grpc.WithTransportCredentials(creds))
	if err != nil {
		return nil, fmt.Errorf("-api: %w", err)
	}
	return c, nil
}

func newRPC(c *grpc.ClientConn, cfg *config, names userNames) *rpc {
	return &rpc{client: pushv1.NewPushServiceClient(c), names: names, users: cfg.hold.Users, timeout: cfg.timeout, key: cfg.apiKey}
}

func (r *rpc) close() {}

func (r *rpc) publish(ctx context.Context, m message, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if r.key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+r.key)
	}
	if err := r.call(ctx, m, data); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	return nil
}

func (r *rpc) call(ctx context.Context, m message, data []byte) (err error) {
	switch m.kind {
	case unicast:
		_, err = r.client.Unicast(ctx, r.unicast(m, data))
	case multicast:
		_, err = r.client.Multicast(ctx, r.multicast(m, data))
	default:
		_, err = r.client.Broadcast(ctx, &pushv1.BroadcastRequest{Data: data})
	}
	return err
}

func (r *rpc) unicast(m message, data []byte) *pushv1.UnicastRequest {
	return &pushv1.UnicastRequest{User: r.names.name(m.first), Data: data}
}

func (r *rpc) multicast(m message, data []byte) *pushv1.MulticastRequest {
	users := make([]string, m.fan)
	for i := range users {
		users[i] = r.names.name((m.first + i) % r.users)
	}
	return &pushv1.MulticastRequest{Users: users, Data: data}
}
