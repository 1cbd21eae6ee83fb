package conn

import (
	"context"
	"fmt"
	"hash/maphash"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pushd.example/internal/conn/offheap"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// Server is the clients' door: it takes WebSocket connections, and delivers to
// each what history has for its user.
type Server struct {
	// Set once.
	cfg      Config
	reactor  *reactor.Reactor
	shards   []*shard
	sessions *offheap.Table[session] // by socket; a session is of the shard that owns the socket
	calls    *calls
	seed     maphash.Seed
	idPrefix string // of connection ids: this process and no other of the node

	post        postman // the store's follower
	subscribers subscribers
	subscribed  atomic.Uint64 // subscriptions that there ever were, for their ids
	unnoted     unnoted
	refused     atomic.Uint64  // spans and broadcasts that the store did not take
	noting      sync.WaitGroup // noteDeliveries

	mu         sync.Mutex    // guards the life of the server
	stopFollow func()        // set while following
	stopNoting chan struct{} // closed to end noteDeliveries
	noteCtx    context.Context
	cutNotes   context.CancelFunc // ends noteCtx
	stopped    bool
}

// New checks cfg and binds the address. Nobody is served before Serve.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring conn: %w", err)
	}
	s := &Server{cfg: cfg, seed: maphash.MakeSeed(), stopNoting: make(chan struct{})}
	s.noteCtx, s.cutNotes = context.WithCancel(context.Background())
	s.idPrefix = strconv.FormatInt(time.Now().UnixMilli(), 36) + "-"
	if s.sessions, err = offheap.NewTable[session](reactor.Sockets()); err != nil {
		return nil, err
	}
	s.calls = newCalls(cfg)
	s.reactor, err = reactor.New(reactor.Config{
		Listen:     cfg.Listen,
		Path:       cfg.Path,
		Handler:    s.newShard,
		PlainSends: cfg.PlainSends,
		Limits:     cfg.Limits,

		Compression:    cfg.Compression,
		CompressionMin: cfg.CompressionMin,

		Log: cfg.Log,
	})
	if err != nil {
		s.sessions.Close()
		return nil, err
	}
	s.post.init(s)
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(newCollector(s)); err != nil {
			s.Shutdown(context.Background())
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return s, nil
}

// Addr returns the address that is bound.
func (s *Server) Addr() net.Addr { return s.reactor.Addr() }

// Serve follows the store and serves clients until Shutdown; then it returns
// nil.
func (s *Server) Serve() error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil
	}
	// Before the first Attach, so that nothing can come between.
	s.stopFollow = s.cfg.Store.Follow(s.post.deliver)
	s.calls.start()
	if s.cfg.Messages != nil {
		s.noting.Go(func() { s.noteDeliveries(s.noteCtx, s.stopNoting) })
	}
	s.mu.Unlock()
	s.reactor.Run()
	return nil
}

// Shutdown takes no more clients, sends those that are there away with the
// code for "reconnect now", and waits until they are gone. When ctx ends
// first they are cut off, and its error is returned; everything is let go of
// in either case. The store may be closed after it. Only the first call does
// anything.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	defer s.cutNotes()
	defer context.AfterFunc(ctx, s.cutNotes)()
	s.subscribers.close(fmt.Errorf("subscribing: %w", history.ErrClosed))
	err := s.reactor.Shutdown(ctx)
	if s.stopFollow != nil {
		s.stopFollow()
	}
	s.calls.stop()
	close(s.stopNoting)
	s.noting.Wait()
	if s.subscribers.collect(&s.unnoted); s.cfg.Messages != nil {
		s.tellDelivered(s.noteCtx)
	}
	// Nobody is left who could wake a loop or look at a session.
	s.reactor.Close()
	s.sessions.Close()
	return err
}

// shardOf returns the shard of all of a user's connections, and the hash that
// its index knows the user by.
func (s *Server) shardOf(user string) (*shard, uint32) {
	h := maphash.String(s.seed, user)
	return s.shards[(h>>32)*uint64(len(s.shards))>>32], uint32(h)
}
