package redistest

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between clients and a server and fails as networks do. Without faults
// it forwards everything. All methods may be called from any goroutine; a fault holds
// from the next bytes on.
type Proxy struct {
	// Set once.
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	refuse  bool
	stalled chan struct{} // closed when bytes may pass again; nil while they may
	delay   time.Duration
	lose    *loss
	from    []byte // what servers say becomes to, of the same length
	to      []byte
	pairs   map[*pair]struct{}
}

// loss waits for the request that it is about.
type loss struct {
	match []byte
	reply bool // the server gets the request
	done  chan struct{}
}

// pair is a client's connection and its connection to the server.
type pair struct {
	client, server net.Conn
	mute           *loss // what the server says next is lost; set by the client's direction, guarded by Proxy.mu
}

func (p *pair) cut() {
	_ = p.client.Close()
	_ = p.server.Close()
}

// NewProxy starts a proxy before the server at addr, "host:port". It ends with
// the test.
func NewProxy(t testing.TB, addr string) *Proxy {
	t.Helper()
	port, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(port.release)
	l, err := net.Listen("tcp", port.addr())
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: addr, listener: l, pairs: map[*pair]struct{}{}}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr returns where clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL returns the proxy as a Redis without a password.
func (p *Proxy) URL() string { return "redis://" + p.Addr() + "/0" }

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Flow()
	p.Cut()
	p.running.Wait()
}

// Cut closes all connections. New ones can be made.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.cut()
	}
}

// Refuse decides whether new connections are closed at once.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Stall holds all bytes back, both ways, as a network does that drops packets:
// connections stay open, new ones too. Flow lets them pass again.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled == nil && !p.closed {
		p.stalled = make(chan struct{})
	}
}

// Flow ends Stall.
func (p *Proxy) Flow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// Delay holds each piece of a server's answers back for d.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// LoseReply lets the next bytes that contain match through to the server, and
// cuts the connection when the server answers: the request is done, and the client
// does not know. An empty match is any bytes. The channel is closed when the loss has
// happened; a later loss replaces one that has not.
func (p *Proxy) LoseReply(match string) <-chan struct{} { return p.loseNext(match, true) }

// LoseRequest cuts the connection that brings the next bytes that contain
// match: the request is not done, and the client does not know.
func (p *Proxy) LoseRequest(match string) <-chan struct{} { return p.loseNext(match, false) }

func (p *Proxy) loseNext(match string, reply bool) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = &loss{match: []byte(match), reply: reply, done: make(chan struct{})}
	return p.lose.done
}

// Rewrite replaces from with to in what servers send, so that a server looks like
// another one. Both must have the same length.
func (p *Proxy) Rewrite(from, to string) {
	if len(from) != len(to) {
		panic("redistest: Rewrite with texts of two lengths")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from, p.to = []byte(from), []byte(to)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		if refuse {
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.join(&pair{client: client, server: server})
	}
}

// join begins to pass bytes between the two ends of c.
func (p *Proxy) join(c *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.cut()
		return
	}
	p.pairs[c] = struct{}{}
	p.running.Go(func() { p.pass(c, c.client, c.server, p.fromClient) })
	p.running.Go(func() { p.pass(c, c.server, c.client, p.fromServer) })
}

// pass copies pieces from one end to the other, changed as faults want it, until one
// end is closed or a fault cuts the connection.
func (p *Proxy) pass(c *pair, from, to net.Conn, becomes func(*pair, []byte) (cut bool)) {
	defer func() {
		c.cut()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.pairs, c)
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if becomes(c, b[:n]) {
				return
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) fromClient(c *pair, b []byte) (cut bool) {
	p.wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lose
	if l == nil || !bytes.Contains(b, l.match) {
		return false
	}
	p.lose = nil
	if l.reply {
		c.mute = l
		return false
	}
	c.cut()
	close(l.done)
	return true
}

func (p *Proxy) fromServer(c *pair, b []byte) (cut bool) {
	p.wait()
	p.mu.Lock()
	if l := c.mute; l != nil {
		c.mute = nil
		c.cut()
		close(l.done)
		p.mu.Unlock()
		return true
	}
	if len(p.from) > 0 {
		copy(b, bytes.ReplaceAll(b, p.from, p.to))
	}
	delay := p.delay
	p.mu.Unlock()
	time.Sleep(delay)
	return false
}

// wait returns when nothing is stalled.
func (p *Proxy) wait() {
	p.mu.Lock()
	stalled := p.stalled
	p.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}
