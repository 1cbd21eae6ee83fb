package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
	gateway "pushd.example/internal/rpc/gateway/push/v1"
)

// Authenticator says who presents a credential.
type Authenticator interface {
	// API returns the caller that a bearer credential stands for: an API key's
	// or a client token's. Without a credential bearer is empty.
	API(bearer string) (auth.Caller, error)
	Issuer
}

// Config is what a Server is made of.
type Config struct {
	// Store keeps the histories. Required.
	Store history.Store
	// Groups keeps who is in which group. Required.
	Groups history.Groups
	// Events keeps what happens to users. Required.
	Events watch.Events
	// Messages knows of messages that were sent. Required.
	Messages history.Messages
	// Directory knows who is connected. Required.
	Directory Directory
	// Subscriptions lets this node's gRPC subscribers in. Required.
	Subscriptions Subscriptions
	// Auth knows the callers. Required.
	Auth Authenticator
	// Limits bound requests.
	Limits Limits
	// Log gets panics and internal errors; nil discards them.
	Log *slog.Logger
	// Metrics gets the pushd_rpc_ metrics; nil means none.
	Metrics prometheus.Registerer
}

// Limits bound requests. The zero value of each field takes the default.
type Limits struct {
	// MaxData is the most bytes in a message's data. Default 65,536, at most
	// 16 MiB.
	MaxData int
	// MaxUsers is the most users named in one request. Default 10,000, at most
	// 1,000,000.
	MaxUsers int
	// MaxRecipients is the most recipients of a multicast to groups. Default
	// 100,000, at most 1,000,000.
	MaxRecipients int
	// MaxTokenTTL is how long an issued client token may be good for. Default
	// 24 hours, at least a second, at most 365 days.
	MaxTokenTTL time.Duration
}

// services are all that the doors offer.
type services struct {
	push        pushv1.PushServiceServer
	groups      pushv1.GroupServiceServer
	connections pushv1.ConnectionServiceServer
	tokens      pushv1.TokenServiceServer
}

func (a services) registerGRPC(s *grpc.Server) {
	pushv1.RegisterPushServiceServer(s, a.push)
	pushv1.RegisterGroupServiceServer(s, a.groups)
	pushv1.RegisterConnectionServiceServer(s, a.connections)
	pushv1.RegisterTokenServiceServer(s, a.tokens)
}

func (a services) registerREST(mux *runtime.ServeMux, l *local) error {
	ctx := context.Background() // not used: nothing is dialed
	return errors.Join(
		gateway.RegisterPushServiceHandlerServer(ctx, mux, &localPush{local: l, svc: a.push}),
		gateway.RegisterGroupServiceHandlerServer(ctx, mux, &localGroups{local: l, svc: a.groups}),
		gateway.RegisterConnectionServiceHandlerServer(ctx, mux, &localConnections{local: l, svc: a.connections}),
		gateway.RegisterTokenServiceHandlerServer(ctx, mux, &localTokens{local: l, svc: a.tokens}),
	)
}

// Server answers backends.
type Server struct {
	grpc   *grpc.Server
	rest   http.Handler
	health *health.Server

	draining context.Context // ended by drain
	drain    context.CancelFunc
}

// New returns a Server, which is not serving yet (see SetServing). It listens
// nowhere: whoever calls New serves GRPC and REST.
func New(c Config) (*Server, error) {
	if c.Store == nil || c.Groups == nil || c.Messages == nil || c.Events == nil || c.Directory == nil || c.Subscriptions == nil || c.Auth == nil {
		return nil, errors.New("rpc: Config.Store, Config.Groups, Config.Messages, Config.Events, Config.Directory, Config.Subscriptions and Config.Auth are required")
	}
	limits, err := c.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	guard, err := newGuard(c.Auth, c.Log, c.Metrics)
	if err != nil {
		return nil, err
	}
	watches, err := newWatchMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	s := &Server{health: health.NewServer()}
	s.draining, s.drain = context.WithCancel(context.Background())
	all := services{
		push:        &service{store: c.Store, groups: c.Groups, messages: c.Messages, subscriptions: c.Subscriptions, limits: limits, guard: guard, draining: s.draining},
		groups:      &groups{store: c.Groups, maxUsers: limits.MaxUsers},
		connections: &connections{directory: c.Directory, events: c.Events, metrics: watches, draining: s.draining},
		tokens:      &tokens{issuer: c.Auth, maxTTL: limits.MaxTokenTTL},
	}
	if s.rest, err = newREST(all, guard, limits.maxRequest()); err != nil {
		return nil, err
	}
	s.grpc = grpc.NewServer(grpcOptions(guard, limits)...)
	all.registerGRPC(s.grpc)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.SetServing(false)
	return s, nil
}

// GRPC returns the gRPC server with its services registered: those of push.v1,
// grpc.health.v1 (needs no credential) and reflection (needs any API key).
func (s *Server) GRPC() *grpc.Server { return s.grpc }

// REST returns the handler of all paths under /v1, and of /openapi.json and
// /docs, which describe them. Paths must reach it as they
// came: a mux in front that cleans paths changes users such as "a//b".
func (s *Server) REST() http.Handler { return s.rest }

// Drain begins the end: it tells health checkers to send nothing more, and ends
// Watch streams, calls of ListEvents that wait, and Publish streams, each when all
// that was taken from it has its reply. Other calls are still answered; GracefulStop waits for them.
func (s *Server) Drain() {
	s.SetServing(false)
	s.drain()
}

// SetServing tells health checkers whether to send calls here. It refuses no
// call.
func (s *Server) SetServing(serving bool) {
	status := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		status = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
	for service := range s.grpc.GetServiceInfo() {
		if strings.HasPrefix(service, "push.v1.") {
			s.health.SetServingStatus(service, status)
		}
	}
}

// grpcOptions are for backends that keep a few connections with many calls in
// flight, behind proxies that cut idle connections.
func grpcOptions(g *guard, l Limits) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.UnaryInterceptor(g.unary),
		grpc.StreamInterceptor(g.stream),
		grpc.MaxRecvMsgSize(l.maxRequest()),
		grpc.MaxConcurrentStreams(1024),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
}

func (l Limits) withDefaults() (Limits, error) {
	if l.MaxData == 0 {
		l.MaxData = 64 << 10
	}
	if l.MaxUsers == 0 {
		l.MaxUsers = 10_000
	}
	if l.MaxRecipients == 0 {
		l.MaxRecipients = 100_000
	}
	if l.MaxTokenTTL == 0 {
		l.MaxTokenTTL = 24 * time.Hour
	}
	if l.MaxTokenTTL < minTokenTTL || l.MaxTokenTTL > 365*24*time.Hour {
		return l, fmt.Errorf("rpc: Limits.MaxTokenTTL: between %v and 365 days, got %v", minTokenTTL, l.MaxTokenTTL)
	}
	if l.MaxData < 0 || l.MaxData > 16<<20 {
		return l, fmt.Errorf("rpc: Limits.MaxData: between 1 and %d bytes, got %d", 16<<20, l.MaxData)
	}
	if l.MaxUsers < 0 || l.MaxUsers > 1_000_000 {
		return l, fmt.Errorf("rpc: Limits.MaxUsers: between 1 and 1000000, got %d", l.MaxUsers)
	}
	if l.MaxRecipients < 0 || l.MaxRecipients > 1_000_000 {
		return l, fmt.Errorf("rpc: Limits.MaxRecipients: between 1 and 1000000, got %d", l.MaxRecipients)
	}
	return l, nil
}

// maxRequest is the most bytes in a request at either door. Anything longer is
// over another limit too, with room to spare for saying which: JSON encoders
// that escape non-ASCII letters need up to 3 bytes for one, and data may
// exceed its limit twice before the request as a whole is refused.
func (l Limits) maxRequest() int {
	const perUser = 3*history.MaxUser + 4
	return 2*l.MaxData + (l.MaxUsers+maxGroups+maxExcept)*perUser + 4<<10
}
