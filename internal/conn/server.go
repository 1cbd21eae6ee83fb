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

	"pushd.example/internal/conn/fanout"
	"pushd.example/internal/conn/offheap"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/conn/receipts"
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

	fanout      *fanout.Fanout // the store's follower
	subscribers subscribers
	subscribed  atomic.Uint64 // subscriptions that there ever were, for their ids

	reporter  receipts.Reporter
	reporting sync.WaitGroup // reporter.Run

	mu         sync.Mutex         // guards the life of the server
	stopFollow func()             // set while following
	stopReport chan struct{}      // closed to end reporter.Run
	reportCtx  context.Context    // of the reporter's calls of the store
	cutReport  context.CancelFunc // ends reportCtx
	stopped    bool
}

// New checks cfg and binds the address. Clients are served from Serve on.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring conn: %w", err)
	}
	s := &Server{cfg: cfg, seed: maphash.MakeSeed(), stopReport: make(chan struct{})}
	s.reportCtx, s.cutReport = context.WithCancel(context.Background())
	s.idPrefix = strconv.FormatInt(time.Now().UnixMilli(), 36) + "-"
	if s.sessions, err = offheap.NewTable[session](reactor.Sockets()); err != nil {
		return nil, err
	}
	s.calls = newCalls(cfg)
	s.reporter.Timeout, s.reporter.Log = cfg.StoreTimeout, cfg.Log
	if cfg.Messages != nil {
		s.reporter.Store = cfg.Messages
	}
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
	s.fanout = s.newFanout()
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(newCollector(s)); err != nil {
			s.Shutdown(context.Background())
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return s, nil
}

func (s *Server) newFanout() *fanout.Fanout {
	cfg := fanout.Config{
		Connection:  s.connectionNamed,
		NewFrame:    s.reactor.NewFrame,
		Others:      s.subscribers.offer,
		KeepRecalls: 2 * s.cfg.StoreTimeout,
	}
	cfg.ShardOf = func(user string) (int, uint32) {
		sh, hash := s.shardOf(user)
		return sh.loop.ID(), hash
	}
	for _, sh := range s.shards {
		cfg.Queues = append(cfg.Queues, sh.queue)
	}
	return fanout.New(cfg)
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
	s.stopFollow = s.cfg.Store.Follow(s.fanout.Deliver)
	s.calls.start()
	if s.cfg.Messages != nil {
		s.reporting.Go(func() { s.reporter.Run(s.reportCtx, s.stopReport, s.collect) })
	}
	s.mu.Unlock()
	s.reactor.Run()
	return nil
}

// Shutdown takes no more clients, sends those that are there away with the
// code for "reconnect now", and waits until they are gone. When ctx ends
// first they are cut off, and its error is returned. Everything is released
// in either case. The store may be closed after it. Only the first call does
// anything.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	defer s.cutReport()
	defer context.AfterFunc(ctx, s.cutReport)()
	s.subscribers.close(fmt.Errorf("subscribing: %w", history.ErrClosed))
	err := s.reactor.Shutdown(ctx)
	if s.stopFollow != nil {
		s.stopFollow()
	}
	s.calls.stop()
	close(s.stopReport)
	s.reporting.Wait()
	s.subscribers.collect(&s.reporter)
	s.reporter.Report(s.reportCtx)
	// No goroutine is left that could wake a loop or look at a session.
	s.reactor.Close()
	s.sessions.Close()
	return err
}

// collect gathers what was delivered from the shards and the subscriptions.
func (s *Server) collect() {
	for _, sh := range s.shards {
		for more := sh.unreported.Load(); more; {
			// A loop answers the question or drops it, and what was collected
			// is not lost.
			c, err := ask(context.Background(), sh, (*shard).collect)
			if err != nil {
				return
			}
			s.reporter.Add(c.Deliveries)
			more = c.more
		}
	}
	s.subscribers.collect(&s.reporter)
}

// collected is some of what a shard has delivered.
type collected struct {
	history.Deliveries
	more bool // collect again at once
}

func (s *shard) collect() (c collected) {
	s.loop.Flush() // what is in a batch is not taken yet
	c.Deliveries, c.more = s.ledger.Collect(s.loop.Now(), s.deliver.oldest())
	s.unreported.Store(s.ledger.Unreported())
	return c
}

// shardOf returns the shard of all of a user's connections, and the hash that
// its index knows the user by.
func (s *Server) shardOf(user string) (*shard, uint32) {
	h := maphash.String(s.seed, user)
	return s.shards[(h>>32)*uint64(len(s.shards))>>32], uint32(h)
}
