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

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
)

// What one Publish stream may have in flight: requests that were read and whose
// replies gRPC has not taken yet. Past it the stream is not read, so that
// gRPC's flow control holds the caller back.
const (
	maxInFlight      = 1024
	maxInFlightBytes = 8 << 20 // or one request that is larger
)

// recheckEvery is how long a stream goes on with a key that was taken out of
// the key file.
const recheckEvery = time.Second

// errDraining ends Publish streams at shutdown, when all that was taken from
// them has its reply.
var errDraining = errors.New("this node is shutting down")

// Publish implements pushv1.PushServiceServer.
func (s *service) Publish(stream grpc.BidiStreamingServer[pushv1.PublishRequest, pushv1.PublishResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	f := &flight{service: s, stream: stream, ctx: ctx}
	f.lanes.seed = maphash.MakeSeed()
	f.room.L, f.news.L = &f.mu, &f.mu
	defer context.AfterFunc(s.draining, func() { f.end(errDraining) })()
	// Ends when the stream does, which is when this returns.
	go func() { f.end(f.read()) }()
	return f.write()
}

// flight is the requests of one stream on their way:
//
//	reader ──▶ lanes ──▶ workers, one for each task that runs ──▶ replies ──▶ writer
//
// The writer is the handler itself: when the stream must end while the reader
// waits for a request, gRPC lets the reader go only when the handler returns.
type flight struct {
	*service
	stream grpc.BidiStreamingServer[pushv1.PublishRequest, pushv1.PublishResponse]
	ctx    context.Context

	// The reader's.
	caller  auth.Caller
	checked time.Time // when caller was last looked up

	mu       sync.Mutex
	room     sync.Cond // for the reader: there may be room, or the end came
	news     sync.Cond // for the writer: a reply, or the end
	lanes    lanes
	inFlight int
	bytes    int // in flight
	running  int // tasks without a reply
	replies  []outcome
	ended    bool // nothing more is taken
	why      error
}

// task is one request.
type task struct {
	req     *pushv1.PublishRequest
	refused error // why it is not carried out
	bytes   int
	// What lanes knows of it.
	lanes   []int
	waiting int // in how many of them others are before it
	one     [1]int
}

// outcome is a reply on its way to the writer.
type outcome struct {
	reply *pushv1.PublishResponse
	bytes int
}

// end takes no more requests. The first reason counts.
func (f *flight) end(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.ended, f.why = true, why
	}
	f.room.Broadcast()
	f.news.Signal()
}

// read takes requests until there are no more, or no more may be taken.
func (f *flight) read() error {
	for {
		req, err := f.stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f.admit(); err != nil {
			return err
		}
		if !f.take(req) {
			return nil
		}
	}
}

// admit looks whether the caller is still known, from time to time, and waits
// where it is over its rate: a stream can be held back, so it need not fail.
func (f *flight) admit() (err error) {
	if now := time.Now(); now.Sub(f.checked) > recheckEvery {
		if f.caller, err = f.guard.caller(f.ctx); err != nil {
			return err
		}
		f.checked = now
	}
	l := f.caller.Limiter
	if l == nil || l.Allow() {
		return nil
	}
	f.guard.metrics.limited.WithLabelValues(f.caller.Name).Inc()
	return l.Wait(f.ctx)
}

// take puts req into the lanes once there is room. False: the end came first.
func (f *flight) take(req *pushv1.PublishRequest) bool {
	t := &task{req: req}
	t.refused = f.permit(req)
	t.bytes = size(req)
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.ended && (f.inFlight == maxInFlight || f.bytes > 0 && f.bytes+t.bytes > maxInFlightBytes) {
		f.room.Wait()
	}
	if f.ended {
		return false
	}
	f.inFlight++
	f.running++
	f.bytes += t.bytes
	f.route(t)
	if f.lanes.add(t) {
		go f.work(t)
	}
	return true
}

// permit says whether the caller may make the call that req stands for.
func (f *flight) permit(req *pushv1.PublishRequest) error {
	method := methodOfSend(req)
	if method == "" {
		return &FieldError{"send", "required: unicast, multicast or broadcast"}
	}
	return f.guard.rules[method].permit(f.caller)
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

// size is about what req holds in memory.
func size(req *pushv1.PublishRequest) int {
	const overhead = 256
	n := overhead + len(req.GetUnicast().GetData()) + len(req.GetMulticast().GetData()) + len(req.GetBroadcast().GetData())
	m := req.GetMulticast()
	for _, names := range [][]string{m.GetUsers(), m.GetGroups(), m.GetExcept()} {
		for _, name := range names {
			n += len(name) + 16
		}
	}
	return n
}

// route finds the lanes of t: those of its recipients. A task that is refused
// keeps nobody waiting.
func (f *flight) route(t *task) {
	t.lanes = t.one[:0]
	switch send := t.req.GetSend().(type) {
	case *pushv1.PublishRequest_Unicast:
		t.lanes = append(t.lanes, f.lanes.of(send.Unicast.GetUser()))
	case *pushv1.PublishRequest_Multicast:
		if len(send.Multicast.GetGroups()) > 0 { // of whom is known when it runs
			t.lanes = f.lanes.all(t.lanes)
			return
		}
		t.lanes = f.lanes.lanesOf(t.lanes, send.Multicast.GetUsers())
	case *pushv1.PublishRequest_Broadcast:
		t.lanes = f.lanes.all(t.lanes)
	}
}

// work runs t, and then what may run because t has.
func (f *flight) work(t *task) {
	var ready []*task
	for {
		reply := f.do(t)
		f.mu.Lock()
		f.replies = append(f.replies, outcome{reply, t.bytes})
		f.running--
		ready = f.lanes.done(t, ready[:0])
		f.mu.Unlock()
		f.news.Signal()
		if len(ready) == 0 {
			return
		}
		t = ready[0]
		for _, other := range ready[1:] {
			go f.work(other)
		}
	}
}

// do carries out one request. It is counted as the call that it stands for.
func (f *flight) do(t *task) *pushv1.PublishResponse {
	reply := &pushv1.PublishResponse{Number: t.req.GetNumber()}
	err := f.guard.watch(f.ctx, methodOfSend(t.req), func(ctx context.Context) (err error) {
		if t.refused != nil {
			return t.refused
		}
		return f.send(ctx, t.req, reply)
	})
	if err != nil {
		st := status.Convert(err).Proto()
		reply.Reply = &pushv1.PublishResponse_Error{Error: &pushv1.Error{
			Code: st.GetCode(), Message: st.GetMessage(), Details: st.GetDetails(),
		}}
	}
	return reply
}

func (f *flight) send(ctx context.Context, req *pushv1.PublishRequest, reply *pushv1.PublishResponse) error {
	switch send := req.GetSend().(type) {
	case *pushv1.PublishRequest_Unicast:
		resp, err := f.Unicast(ctx, send.Unicast)
		reply.Reply = &pushv1.PublishResponse_Unicast{Unicast: resp}
		return err
	case *pushv1.PublishRequest_Multicast:
		resp, err := f.Multicast(ctx, send.Multicast)
		reply.Reply = &pushv1.PublishResponse_Multicast{Multicast: resp}
		return err
	case *pushv1.PublishRequest_Broadcast:
		resp, err := f.Broadcast(ctx, send.Broadcast)
		reply.Reply = &pushv1.PublishResponse_Broadcast{Broadcast: resp}
		return err
	}
	return nil
}

// write sends replies until all is answered and no more is taken, and returns
// why that is.
func (f *flight) write() error {
	var batch []outcome
	broken := false // nobody reads the replies
	for {
		batch = f.next(batch)
		if len(batch) == 0 {
			return f.why
		}
		bytes := 0
		for _, o := range batch {
			broken = broken || f.stream.Send(o.reply) != nil
			bytes += o.bytes
		}
		f.mu.Lock()
		f.inFlight -= len(batch)
		f.bytes -= bytes
		f.mu.Unlock()
		f.room.Signal()
	}
}

// next waits for replies and takes them all; none: there will be no more. spent
// is memory to use again.
func (f *flight) next(spent []outcome) []outcome {
	clear(spent)
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.replies) == 0 && !(f.ended && f.running == 0) {
		f.news.Wait()
	}
	batch := f.replies
	f.replies = spent[:0]
	return batch
}
