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

// Authenticator checks credentials and issues client tokens.
type Authenticator interface {
	// API returns the caller that a bearer credential stands for: an API key's or
	// a client token's. bearer is empty if the call has no credential. Errors:
	// auth.ErrNoCredential, auth.ErrBadCredential, auth.ErrExpired.
	API(bearer string) (auth.Caller, error)
	Issuer
}

// Config says what a Server consists of.
type Config struct {
	// Store keeps the histories. Required.
	Store history.Store
	// Groups keeps the members of groups. Required.
	Groups history.Groups
	// Events keeps the events that Watch and ListEvents report. Required.
	Events watch.Events
	// Messages recalls messages and keeps receipts. Required.
	Messages history.Messages
	// Directory lists and closes connections. Required.
	Directory Directory
	// Subscriptions starts the subscriptions of gRPC clients. Required.
	Subscriptions Subscriptions
	// Auth checks credentials. Required.
	Auth Authenticator
	// Limits bound requests.
	Limits Limits
	// DataRules say which JSON a message's data may be. Default StrictData.
	DataRules DataRules
	// Log gets panics and internal errors. Nil discards them.
	Log *slog.Logger
	// Metrics gets the pushd_rpc_ metrics. Nil registers none.
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
	// MaxTokenTTL is the longest ttl of an issued client token. Default 24 hours,
	// at least a second, at most 365 days.
	MaxTokenTTL time.Duration
}

// services are the services of both APIs, gRPC and REST.
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

func (a services) registerREST(mux *runtime.ServeMux, l *inProcess) error {
	ctx := context.Background() // not used: nothing is dialed
	return errors.Join(
		gateway.RegisterPushServiceHandlerServer(ctx, mux, &inProcessPush{inProcess: l, svc: a.push}),
		gateway.RegisterGroupServiceHandlerServer(ctx, mux, &inProcessGroups{inProcess: l, svc: a.groups}),
		gateway.RegisterConnectionServiceHandlerServer(ctx, mux, &inProcessConnections{inProcess: l, svc: a.connections}),
		gateway.RegisterTokenServiceHandlerServer(ctx, mux, &inProcessTokens{inProcess: l, svc: a.tokens}),
	)
}

// Server is the API for backends, over gRPC and REST.
type Server struct {
	grpc   *grpc.Server
	rest   http.Handler
	health *health.Server

	draining context.Context // done after Drain
	drain    context.CancelFunc
}

// New returns a Server that tells health checkers that it is not serving (see
// SetServing). It does not listen: the caller serves GRPC and REST.
func New(c Config) (*Server, error) {
	if c.Store == nil || c.Groups == nil || c.Messages == nil || c.Events == nil || c.Directory == nil || c.Subscriptions == nil || c.Auth == nil {
		return nil, errors.New("rpc: Config.Store, Config.Groups, Config.Messages, Config.Events, Config.Directory, Config.Subscriptions and Config.Auth are required")
	}
	limits, err := c.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	switch c.DataRules {
	case "":
		c.DataRules = StrictData
	case StrictData, AnyData:
	default:
		return nil, fmt.Errorf("rpc: Config.DataRules: want %q or %q, got %q", StrictData, AnyData, c.DataRules)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	interceptor, err := newInterceptor(c.Auth, limits, c.Log, c.Metrics)
	if err != nil {
		return nil, err
	}
	watches, err := newWatchMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("rpc: registering metrics: %w", err)
	}
	s := &Server{health: health.NewServer()}
	s.draining, s.drain = context.WithCancel(context.Background())
	all := services{
		push:        &service{store: c.Store, groups: c.Groups, messages: c.Messages, subscriptions: c.Subscriptions, limits: limits, dataRules: c.DataRules, interceptor: interceptor, draining: s.draining},
		groups:      &groups{store: c.Groups, maxUsers: limits.MaxUsers},
		connections: &connections{directory: c.Directory, events: c.Events, metrics: watches, draining: s.draining},
		tokens:      &tokens{issuer: c.Auth, maxTTL: limits.MaxTokenTTL},
	}
	if s.rest, err = newREST(all, interceptor, limits.maxRequest()); err != nil {
		return nil, err
	}
	s.grpc = grpc.NewServer(grpcOptions(interceptor, transport, limits)...)
	all.registerGRPC(s.grpc)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.SetServing(false)
	return s, nil
}

// GRPC returns the gRPC server with its services registered: those of push.v1,
// grpc.health.v1 (needs no credential) and reflection (needs any API key).
func (s *Server) GRPC() *grpc.Server { return s.grpc }

// REST returns the handler of all paths under /v1, and of /openapi.json and /docs,
// which describe them. Paths must reach it unchanged: a mux in front that cleans
// paths would change users such as "a//b".
func (s *Server) REST() http.Handler { return s.rest }

// Drain begins the shutdown. It tells health checkers to send no more calls, and
// ends Watch streams, waiting calls of ListEvents, and Publish streams, each as soon
// as every request that was taken from it has its reply. Other calls are still
// answered; GracefulStop waits for them.
func (s *Server) Drain() {
	s.SetServing(false)
	s.drain()
}

// SetServing tells health checkers whether to send calls to this server. The
// server answers calls either way.
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

// grpcOptions suit backends that have a few connections with many calls in flight,
// behind proxies that close idle connections.
func grpcOptions(i *interceptor, t transport, l Limits) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(t),
		grpc.ForceServerCodecV2(newGRPCCodec()),
		grpc.UnaryInterceptor(i.unary),
		grpc.StreamInterceptor(i.stream),
		grpc.MaxRecvMsgSize(l.maxRequest()),
		grpc.MaxConcurrentStreams(1024),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 10 * time.Minute, Time: time.Minute, Timeout: 20 * time.Second}),
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

// maxRequest is the most bytes in a request, over gRPC and over REST. It is larger
// than any valid request, so that a request over another limit is usually refused
// with an error that names its field: a JSON encoder may need 3 bytes for each byte
// of a name, and data may be twice its limit.
func (l Limits) maxRequest() int {
	const perUser = 3*history.MaxUser + 4
	return 2*l.MaxData + (l.MaxUsers+maxGroups+maxExcept)*perUser + 4<<10
}
