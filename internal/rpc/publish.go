package rpc

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
)

// The bounds of one Publish stream's requests in flight: those that were read and
// whose replies gRPC has not taken yet. At a bound the stream is not read, so
// that gRPC's flow control holds the caller back.
const (
	maxInFlight      = 1024
	maxInFlightBytes = 8 << 20 // or one request that is larger; those beyond streamBytes are reserved
)

// recheckInterval is how long a stream continues after its API key was removed
// from the key file.
const recheckInterval = time.Second

// errDraining ends Publish streams at shutdown, when every request that was taken
// has its reply.
var errDraining = errors.New("this node is shutting down")

// Publish implements pushv1.PushServiceServer.
func (s *service) Publish(stream grpc.BidiStreamingServer[pushv1.PublishRequest, pushv1.PublishResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	p := &publishStream{service: s, stream: stream, ctx: ctx}
	p.sequencer.seed = maphash.MakeSeed()
	p.spaceFreed.L, p.replyReady.L = &p.mu, &p.mu
	defer context.AfterFunc(s.draining, func() { p.end(errDraining) })()
	// The reader ends when the stream does, which is when this function returns.
	go func() { p.end(p.read()) }()
	return p.write()
}

// publishStream is one Publish stream and its requests in flight:
//
//	reader ──▶ sequencer ──▶ workers, one for each task that runs ──▶ replies ──▶ writer
//
// The writer is the handler itself: when the stream must end while the reader
// waits in Recv, gRPC ends that wait only when the handler returns.
type publishStream struct {
	*service
	stream grpc.BidiStreamingServer[pushv1.PublishRequest, pushv1.PublishResponse]
	ctx    context.Context

	// The reader's.
	caller  auth.Caller
	checked time.Time // when caller was last looked up

	mu         sync.Mutex // guards what follows
	spaceFreed sync.Cond  // for the reader: there may be space, or the stream ends
	replyReady sync.Cond  // for the writer: a reply, or the stream ends
	sequencer  sequencer
	inFlight   int
	bytes      int // in flight
	running    int // tasks without a reply
	replies    []finished
	ended      bool // no further request is taken
	endErr     error
}

// task is one request on its way.
type task struct {
	req     *pushv1.PublishRequest
	refused error // why it is not carried out; nil otherwise
	bytes   int
	held    *reservation // for bytes; nil while the stream has few in flight
	// The sequencer's.
	stripes []int
	blocked int    // stripes in which other tasks are before it
	one     [1]int // memory for the stripes of a unicast
}

// finished is a reply on its way to the writer.
type finished struct {
	reply *pushv1.PublishResponse
	bytes int // of its request
	held  *reservation
}

// end makes the stream take no more requests. The first reason given counts.
func (p *publishStream) end(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.ended, p.endErr = true, reason
	}
	p.spaceFreed.Broadcast()
	p.replyReady.Signal()
}

// read takes requests until there are no more, or no more may be taken.
func (p *publishStream) read() error {
	for {
		req, err := p.stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.admit(); err != nil {
			return err
		}
		t := &task{req: req, refused: p.permit(req), bytes: sizeInMemory(req)}
		if err := p.reserve(t); err != nil {
			return err
		}
		if !p.take(t) {
			t.held.free()
			return nil
		}
	}
}

// admit checks from time to time that the caller's key is still valid, and waits
// while the key is over its rate: a stream can be held back, so its requests need
// not fail. A wait that the caller's deadline does not allow ends the stream.
func (p *publishStream) admit() (err error) {
	if now := time.Now(); now.Sub(p.checked) > recheckInterval {
		if p.caller, err = p.interceptor.caller(p.ctx); err != nil {
			return err
		}
		p.checked = now
	}
	over := p.interceptor.spend(p.caller)
	if over == nil {
		return nil
	}
	if err := p.caller.Limiter.Wait(p.ctx); err != nil && p.ctx.Err() == nil {
		return over
	}
	return p.ctx.Err()
}

// reserve reserves t's bytes if the stream has more in flight than it reserved when
// it began.
func (p *publishStream) reserve(t *task) (err error) {
	p.mu.Lock()
	few := p.bytes+t.bytes <= streamBytes
	p.mu.Unlock()
	if few {
		return nil
	}
	t.held, err = p.interceptor.budget.reserve(p.ctx, p.caller, t.bytes)
	return err
}

// take hands t to the sequencer as soon as there is space for it. It returns
// false if the stream ended first.
func (p *publishStream) take(t *task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.ended && (p.inFlight == maxInFlight || p.bytes > 0 && p.bytes+t.bytes > maxInFlightBytes) {
		p.spaceFreed.Wait()
	}
	if p.ended {
		return false
	}
	p.inFlight++
	p.running++
	p.bytes += t.bytes
	p.setStripes(t)
	if p.sequencer.add(t) {
		go p.work(t)
	}
	return true
}

// permit returns nil if the caller may make the call that req stands for.
func (p *publishStream) permit(req *pushv1.PublishRequest) error {
	method := methodOfSend(req)
	if method == "" {
		return &FieldError{"send", "required: unicast, multicast or broadcast"}
	}
	return p.interceptor.rules[method].permit(p.caller)
}

func methodOfSend(req *pushv1.PublishRequest) string {
	switch req.GetSend().(type) {
	case *pushv1.PublishRequest_Unicast:
		return pushv1.PushService_Unicast_FullMethodName
	case *pushv1.PublishRequest_Multicast:
		return pushv1.PushService_Multicast_FullMethodName
	case *pushv1.PublishRequest_Broadcast:
		return pushv1.PushService_Broadcast_FullMethodName
	}
	return ""
}

// sizeInMemory is about how many bytes req takes: all of its fields, and what
// Go adds to a request and to each name.
func sizeInMemory(req *pushv1.PublishRequest) int {
	const perRequest, perName = 256, 16
	m := req.GetMulticast()
	return proto.Size(req) + perRequest + perName*(len(m.GetUsers())+len(m.GetGroups())+len(m.GetExcept()))
}

// setStripes gives t the stripes of its recipients. The members of groups are not
// known before it runs, so it takes all stripes. A request without a send takes
// none: it holds nobody up.
func (p *publishStream) setStripes(t *task) {
	t.stripes = t.one[:0]
	switch send := t.req.GetSend().(type) {
	case *pushv1.PublishRequest_Unicast:
		t.stripes = append(t.stripes, p.sequencer.stripe(send.Unicast.GetUser()))
	case *pushv1.PublishRequest_Multicast:
		if len(send.Multicast.GetGroups()) > 0 {
			t.stripes = appendAllStripes(t.stripes)
			return
		}
		t.stripes = p.sequencer.appendStripes(t.stripes, send.Multicast.GetUsers())
	case *pushv1.PublishRequest_Broadcast:
		t.stripes = appendAllStripes(t.stripes)
	}
}

// work runs t, and then the tasks that t was blocking.
func (p *publishStream) work(t *task) {
	var ready []*task
	for {
		reply := p.execute(t)
		p.mu.Lock()
		p.replies = append(p.replies, finished{reply, t.bytes, t.held})
		p.running--
		ready = p.sequencer.done(t, ready[:0])
		p.mu.Unlock()
		p.replyReady.Signal()
		if len(ready) == 0 {
			return
		}
		t = ready[0]
		for _, other := range ready[1:] {
			go p.work(other)
		}
	}
}

// execute carries out one request. It is counted as the call that it stands for.
func (p *publishStream) execute(t *task) *pushv1.PublishResponse {
	reply := &pushv1.PublishResponse{Number: t.req.GetNumber()}
	err := p.interceptor.observe(p.ctx, methodOfSend(t.req), func(ctx context.Context) (err error) {
		if t.refused != nil {
			return t.refused
		}
		return p.send(ctx, t.req, reply)
	})
	if err != nil {
		st := status.Convert(err).Proto()
		reply.Reply = &pushv1.PublishResponse_Error{Error: &pushv1.Error{
			Code: st.GetCode(), Message: st.GetMessage(), Details: st.GetDetails(),
		}}
	}
	return reply
}

func (p *publishStream) send(ctx context.Context, req *pushv1.PublishRequest, reply *pushv1.PublishResponse) error {
	switch send := req.GetSend().(type) {
	case *pushv1.PublishRequest_Unicast:
		resp, err := p.Unicast(ctx, send.Unicast)
		reply.Reply = &pushv1.PublishResponse_Unicast{Unicast: resp}
		return err
	case *pushv1.PublishRequest_Multicast:
		resp, err := p.Multicast(ctx, send.Multicast)
		reply.Reply = &pushv1.PublishResponse_Multicast{Multicast: resp}
		return err
	case *pushv1.PublishRequest_Broadcast:
		resp, err := p.Broadcast(ctx, send.Broadcast)
		reply.Reply = &pushv1.PublishResponse_Broadcast{Broadcast: resp}
		return err
	}
	return nil
}

// write sends replies until the stream takes no more requests and every request
// taken has its reply. It returns why the stream ended.
func (p *publishStream) write() error {
	var batch []finished
	broken := false // the caller is gone
	for {
		batch = p.next(batch)
		if len(batch) == 0 {
			return p.endErr
		}
		bytes := 0
		for _, f := range batch {
			broken = broken || p.stream.Send(f.reply) != nil
			bytes += f.bytes
			f.held.free()
		}
		p.mu.Lock()
		p.inFlight -= len(batch)
		p.bytes -= bytes
		p.mu.Unlock()
		p.spaceFreed.Signal()
	}
}

// next waits for replies and returns all that are there; none if no more will
// come. It uses the memory of spent again.
func (p *publishStream) next(spent []finished) []finished {
	clear(spent)
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.replies) == 0 && !(p.ended && p.running == 0) {
		p.replyReady.Wait()
	}
	batch := p.replies
	p.replies = spent[:0]
	return batch
}
