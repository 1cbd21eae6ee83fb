package reactor

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/offheap"
	"pushd.example/internal/conn/proto"
)

// Reactor serves WebSocket connections on one address.
type Reactor struct {
	// Set once.
	cfg      Config
	net      *netpoll.Net
	listener *netpoll.Listener
	slots    *offheap.Table[slot]
	loops    []*Loop
	frames   framePool
	began    time.Time

	// Shared.
	connections atomic.Int64
	clients     clients
	upgrades    *upgrades // nil: no bound
	refused     [refusals]atomic.Uint64
	refusalLog  refusalLog
	stopping    chan struct{} // closed: accept no more
	accepting   sync.WaitGroup
	looping     sync.WaitGroup

	// The acceptor's own.
	next    int // the loop that gets the next batch
	refusal []byte
	full    bool // out of descriptors, as the log knows

	mu      sync.Mutex // guards the life of the goroutines
	running bool
	stopped bool
}

// New binds the address. The loops begin with Run.
func New(cfg Config) (*Reactor, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuring connections: %w", err)
	}
	r := &Reactor{cfg: cfg, net: netpoll.NewNet(), began: time.Now(), stopping: make(chan struct{})}
	if r.slots, err = offheap.NewTable[slot](Sockets()); err != nil {
		return nil, err
	}
	r.refusalLog = refusalLog{log: cfg.Log, reasons: map[string]sample{}}
	r.upgrades = newUpgrades(&cfg.Limits)
	r.clients = newClients(cfg.MaxPerIP)
	for i := range cfg.Loops {
		l, err := r.newLoop(i)
		if err != nil {
			r.Close()
			return nil, err
		}
		r.loops = append(r.loops, l)
	}
	if r.listener, err = r.net.Listen(cfg.Listen, *cfg.Socket); err != nil {
		r.Close()
		return nil, fmt.Errorf("listening for clients: %w", err)
	}
	for _, l := range r.loops {
		l.handler = cfg.Handler(l)
	}
	return r, nil
}

// Sockets returns the length of a table that is indexed by socket.
func Sockets() int { return min(openFiles(), maxConnections+1<<16) }

func (r *Reactor) newLoop(id int) (*Loop, error) {
	p, err := r.net.NewPoller()
	if err != nil {
		return nil, err
	}
	c := &r.cfg
	flusher, err := r.net.NewFlusher(c.PlainSends)
	if err != nil && id == 0 {
		// Often only because the container runtime forbids it; a metric says so too.
		c.Log.Info("sending to one socket a system call", "because", err)
	}
	l := &Loop{
		id:       id,
		reactor:  r,
		cfg:      c,
		limits:   c.limits(),
		net:      r.net,
		poller:   p,
		flusher:  flusher,
		slots:    r.slots,
		log:      c.Log.With("loop", id),
		tick:     max(time.Millisecond, min(maxTick, c.PingInterval/sweepsPerInterval, c.HandshakeTimeout/4, c.CloseTimeout/4)),
		backlog:  newBacklog(),
		pages:    map[Handle]*proto.Page{},
		inputs:   inputs{limit: max(1, c.MaxInputBytes/c.Loops)},
		heads:    deadlines{after: uint32(c.HandshakeTimeout.Milliseconds())},
		lingers:  deadlines{after: uint32(c.CloseTimeout.Milliseconds())},
		buf:      make([]byte, readSize),
		now:      r.began,
		nextTick: r.began,
	}
	// The last buffer may be the longest there is, for a moment.
	l.halfHeads.limit = l.mostHeads()*maxHead + inputSizes[len(inputSizes)-1]
	if c.MessageRate > 0 {
		l.price = int64(float64(time.Second) / c.MessageRate)
		l.credit = l.price * int64(max(1, c.MessageBurst))
	}
	return l, nil
}

// Addr returns the address that is bound.
func (r *Reactor) Addr() net.Addr { return r.listener.Addr() }

// Loops returns the loops.
func (r *Reactor) Loops() []*Loop { return r.loops }

// NewFrame returns an empty frame with room for n bytes.
func (r *Reactor) NewFrame(n int) *Frame { return r.frames.get(n) }

// Flusher returns a word for how frames go out.
func (r *Reactor) Flusher() string { return r.loops[0].flusher.Name() }

// Run serves until Shutdown is done.
func (r *Reactor) Run() {
	r.mu.Lock()
	if !r.running && !r.stopped {
		r.running = true
		for _, l := range r.loops {
			r.looping.Go(l.run)
		}
		r.accepting.Go(r.accept)
	}
	r.mu.Unlock()
	r.accepting.Wait()
	r.looping.Wait()
}

// Shutdown accepts no more, closes all connections with the code that says
// "reconnect", and waits until they are gone. When ctx ends first, they are
// cut off and its error is returned. The second Shutdown only waits.
func (r *Reactor) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	first := !r.stopped
	r.stopped = true
	if first {
		close(r.stopping)
		r.listener.Close()
		if !r.running {
			for _, l := range r.loops {
				l.end()
			}
		}
	}
	r.mu.Unlock()
	r.accepting.Wait()
	for _, l := range r.loops {
		l.draining.Store(true)
		l.Wake()
	}
	err := r.await(ctx)
	r.net.Shutdown()
	return err
}

// await waits for the loops to end, and makes them when ctx ends.
func (r *Reactor) await(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		r.looping.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, l := range r.loops {
		l.force.Store(true)
		l.Wake()
	}
	<-done
	return fmt.Errorf("closing connections: %w", ctx.Err())
}

// Close releases what Shutdown keeps because other goroutines may still call
// Wake. They must not call it after Close.
func (r *Reactor) Close() error {
	for _, l := range r.loops {
		l.flusher.Close()
		l.poller.Close()
	}
	return r.slots.Close()
}

// Stats returns the sum over all loops.
func (r *Reactor) Stats() Stats {
	var s Stats
	for _, l := range r.loops {
		l.stats.addTo(&s)
	}
	return s
}

// gone uncounts a connection.
func (r *Reactor) gone(address uint32) {
	r.connections.Add(-1)
	r.clients.leave(address)
}
