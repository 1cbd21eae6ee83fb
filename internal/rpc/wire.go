package rpc

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
)

// grpc-go takes a unary answer of any size, and of a stream's messages those up to
// 64 KiB and one more, whether the caller reads or not; it tells nobody when they
// are written. But it frees the buffer of a message then, so that the codec's
// buffers can end the reservation of a message. What a broken connection leaves
// unwritten is never freed: closing the connection does it.

// stallTimeout is how long a connection may take nothing of the answers that wait
// for it. Then it is closed.
const stallTimeout = 45 * time.Second

// reserved is a message that grpcCodec encodes into a buffer which holds r until it
// is written.
type reserved struct {
	proto.Message
	r *reservation
}

// grpcCodec is gRPC's codec for protobuf, which also knows reserved messages.
type grpcCodec struct{ encoding.CodecV2 }

func newGRPCCodec() grpcCodec { return grpcCodec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements encoding.CodecV2.
func (c grpcCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(reserved)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	text, err := proto.Marshal(m.Message)
	if err != nil || mem.IsBelowBufferPoolingThreshold(cap(text)) {
		m.r.free()
		return mem.BufferSlice{mem.SliceBuffer(text)}, err
	}
	m.r.shrink(len(text))
	m.r.conn.queued(m.r)
	return mem.BufferSlice{mem.NewBuffer(&text, written{m.r})}, nil
}

// written is the pool that one buffer returns to when gRPC has written it.
type written struct{ r *reservation }

// Get implements mem.BufferPool. It is not called.
func (written) Get(n int) *[]byte { b := make([]byte, n); return &b }

// Put implements mem.BufferPool.
func (w written) Put(*[]byte) { w.r.conn.written(w.r) }

// transport makes a connection of each that gRPC accepts. Like gRPC's insecure
// credentials it adds no security.
type transport struct {
	credentials.TransportCredentials
	stalled prometheus.Counter
}

func newTransport(reg prometheus.Registerer) (transport, error) {
	t := transport{insecure.NewCredentials(), prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pushd_rpc_stalled_total",
		Help: "gRPC connections closed because they took nothing of the answers that waited for them.",
	})}
	if reg == nil {
		return t, nil
	}
	return t, reg.Register(t.stalled)
}

// ServerHandshake implements credentials.TransportCredentials.
func (t transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c := &connection{Conn: raw, quota: newQuota("this connection", connectionBudget), queue: map[*reservation]bool{}, stalled: t.stalled}
	return c, connectionInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, c}, nil
}

// Clone implements credentials.TransportCredentials.
func (t transport) Clone() credentials.TransportCredentials { return t }

// connectionInfo is how calls find their connection.
type connectionInfo struct {
	credentials.CommonAuthInfo
	connection *connection
}

// AuthType implements credentials.AuthInfo.
func (connectionInfo) AuthType() string { return "insecure" }

// ValidateAuthority implements credentials.AuthorityValidator.
func (connectionInfo) ValidateAuthority(string) error { return nil }

// connectionFrom returns the gRPC connection of a call, nil for a REST call.
func connectionFrom(ctx context.Context) *connection {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, _ := p.AuthInfo.(connectionInfo)
	return info.connection
}

// connection is a gRPC connection and the reserved answers that wait for it to
// write them.
type connection struct {
	net.Conn
	quota   *quota
	stalled prometheus.Counter

	mu     sync.Mutex // guards what follows
	queue  map[*reservation]bool
	timer  *time.Timer // runs while queue has something
	closed bool
}

// queued says that an answer waits to be written.
func (c *connection) queued(r *reservation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		r.free()
		return
	}
	c.queue[r] = true
	switch {
	case len(c.queue) > 1:
	case c.timer == nil:
		c.timer = time.AfterFunc(stallTimeout, c.stall)
	default:
		c.timer.Reset(stallTimeout)
	}
}

// written says that an answer is written, or dropped.
func (c *connection) written(r *reservation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.free()
	if !c.queue[r] {
		return
	}
	delete(c.queue, r)
	if len(c.queue) == 0 {
		c.timer.Stop()
	} else {
		c.timer.Reset(stallTimeout)
	}
}

// stall closes the connection, unless its answers were written just now.
func (c *connection) stall() {
	c.mu.Lock()
	waits := len(c.queue) > 0 && !c.closed
	c.mu.Unlock()
	if waits {
		c.stalled.Inc()
		_ = c.Close()
	}
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.mu.Lock()
	c.closed = true
	for r := range c.queue {
		r.free()
	}
	clear(c.queue)
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	return c.Conn.Close()
}
