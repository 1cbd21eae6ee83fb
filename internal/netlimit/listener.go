// Package netlimit bounds what the connections of a TCP listener cost: how many
// there are at once, and how long the kernel may take none of what is written to
// one of them.
//
// It is for net/http and gRPC servers, which accept without limit: idle connections
// could use up the descriptors that the store needs, and an answer that nobody reads
// would stay for ever.
package netlimit

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says what a Listener allows.
type Config struct {
	// Name is the label door of the metrics.
	Name string
	// Max is the most connections at once, at least 1.
	Max int
	// WriteTimeout is how long the kernel may take to accept 64 KiB that are
	// written to a connection. Then the write fails, and the connection is of no
	// more use. Default 30 seconds.
	WriteTimeout time.Duration
	// Metrics counts. Required.
	Metrics *Metrics
}

// Metrics are the metrics of all listeners.
type Metrics struct {
	connections *prometheus.GaugeVec
	waits       *prometheus.CounterVec
	idle        *prometheus.CounterVec
	unread      *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	door := []string{"door"}
	m := &Metrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pushd_door_connections", Help: "Connections of backends and operators, by door.",
		}, door),
		waits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_door_waits_total", Help: "Connections that had to wait until another one ended, by door.",
		}, door),
		idle: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_door_idle_closed_total", Help: "Idle connections closed to make room for others, by door.",
		}, door),
		unread: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_door_unread_total", Help: "Connections given up because their peer did not read, by door.",
		}, door),
	}
	return m, errors.Join(reg.Register(m.connections), reg.Register(m.waits), reg.Register(m.idle), reg.Register(m.unread))
}

// Listener is a net.Listener with at most Config.Max connections. When there are as
// many, it closes the one that has been idle for longest, if ConnState tells it
// which are; otherwise the next one waits until a connection ends, and those after
// it wait in the kernel.
type Listener struct {
	net.Listener
	timeout     time.Duration
	connections prometheus.Gauge
	waits       prometheus.Counter
	idleClosed  prometheus.Counter
	unread      prometheus.Counter

	slots  chan struct{} // one element for each connection
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex // guards what follows, and the idle field of all connections
	idle    list.List  // of *Conn; the front has been idle for longest
	waiting bool       // Accept waits for a slot and found no idle connection
}

// unackedTimeout is how long a peer may acknowledge nothing.
const unackedTimeout = 45 * time.Second

// Listen listens on a TCP address.
func Listen(ctx context.Context, addr string, c Config) (*Listener, error) {
	ln, err := (&net.ListenConfig{Control: control}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 30 * time.Second
	}
	return &Listener{
		Listener: ln, timeout: c.WriteTimeout,
		connections: c.Metrics.connections.WithLabelValues(c.Name),
		waits:       c.Metrics.waits.WithLabelValues(c.Name),
		idleClosed:  c.Metrics.idle.WithLabelValues(c.Name),
		unread:      c.Metrics.unread.WithLabelValues(c.Name),
		slots:       make(chan struct{}, max(c.Max, 1)),
		closed:      make(chan struct{}),
	}, nil
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.enter() {
		_ = raw.Close()
		return nil, net.ErrClosed
	}
	l.connections.Inc()
	return &Conn{Conn: raw, listener: l}, nil
}

// enter waits for a slot. It returns false if the listener is closed first.
func (l *Listener) enter() bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	l.waits.Inc()
	l.mu.Lock()
	l.waiting = true
	l.makeRoomLocked()
	l.mu.Unlock()
	select {
	case l.slots <- struct{}{}:
		l.mu.Lock()
		l.waiting = false
		l.mu.Unlock()
		return true
	case <-l.closed:
		return false
	}
}

// makeRoomLocked closes the connection that has been idle for longest if Accept
// waits for a slot.
func (l *Listener) makeRoomLocked() {
	for l.waiting && l.idle.Len() > 0 {
		longest := l.idle.Remove(l.idle.Front()).(*Conn)
		longest.idle = nil
		if longest.Close() == nil { // else its end has made room already
			l.idleClosed.Inc()
			l.waiting = false
		}
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// ConnState is for [http.Server].ConnState. It tells the listener which connections
// are idle: those between two requests, and those that have sent nothing yet.
func (l *Listener) ConnState(raw net.Conn, state http.ConnState) {
	c, ok := raw.(*Conn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.idle != nil {
		l.idle.Remove(c.idle)
		c.idle = nil
	}
	if state == http.StateNew || state == http.StateIdle {
		c.idle = l.idle.PushBack(c)
		l.makeRoomLocked()
	}
}

// Conn is a connection of a Listener.
type Conn struct {
	net.Conn
	listener *Listener
	once     sync.Once     // Close frees the slot once
	idle     *list.Element // in listener.idle, nil while it is not idle
}

// Write implements net.Conn. Each 64 KiB have a deadline of their own, so that a
// peer with a slow line gets a long answer.
func (c *Conn) Write(b []byte) (n int, err error) {
	const chunk = 64 << 10
	for {
		part := b[n:min(n+chunk, len(b))]
		if err := c.SetWriteDeadline(time.Now().Add(c.listener.timeout)); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(part)
		n += m
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.listener.unread.Inc()
		}
		if err != nil || n == len(b) {
			return n, err
		}
	}
}

// CloseWrite is what net/http calls before it closes a connection whose request it
// has not read to the end.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		<-c.listener.slots
		c.listener.connections.Dec()
	})
	return err
}
