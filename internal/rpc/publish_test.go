package rpc

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

type publishClient = grpc.BidiStreamingClient[pushv1.PublishRequest, pushv1.PublishResponse]

func (r *rig) publish(credential string) publishClient {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.as(credential))
	r.t.Cleanup(cancel)
	stream, err := r.push.Publish(ctx)
	testkit.Must(r.t, err)
	return stream
}

func unicast(n int, user, data string) *pushv1.PublishRequest {
	return &pushv1.PublishRequest{Number: uint64(n), Send: &pushv1.PublishRequest_Unicast{
		Unicast: &pushv1.UnicastRequest{User: user, Data: []byte(data)}}}
}

func multicast(n int, users []string, data string) *pushv1.PublishRequest {
	return &pushv1.PublishRequest{Number: uint64(n), Send: &pushv1.PublishRequest_Multicast{
		Multicast: &pushv1.MulticastRequest{Users: users, Data: []byte(data)}}}
}

func broadcast(n int, data string) *pushv1.PublishRequest {
	return &pushv1.PublishRequest{Number: uint64(n), Send: &pushv1.PublishRequest_Broadcast{
		Broadcast: &pushv1.BroadcastRequest{Data: []byte(data)}}}
}

// replies reads until the stream ends, by number.
func replies(t testing.TB, stream publishClient) (map[uint64]*pushv1.PublishResponse, error) {
	t.Helper()
	all := map[uint64]*pushv1.PublishResponse{}
	for {
		reply, err := stream.Recv()
		if err != nil {
			return all, err
		}
		if all[reply.GetNumber()] != nil {
			t.Fatalf("two replies to request %d", reply.GetNumber())
		}
		all[reply.GetNumber()] = reply
	}
}

// TestPublish: each request has the answer that its call would have had, and
// those that fail do so alone.
func TestPublish(t *testing.T) {
	r := newRig(t, options{})
	stream := r.publish(keySend)
	withKey := unicast(7, "42", "1")
	withKey.GetUnicast().IdempotencyKey = "k"
	again := unicast(8, "42", "1")
	again.GetUnicast().IdempotencyKey = "k"
	for _, req := range []*pushv1.PublishRequest{
		unicast(1, "42", "1"),
		multicast(2, []string{"42", "43", "42"}, "2"),
		broadcast(3, "3"),
		unicast(4, longUser, "4"),
		{Number: 5},
		multicast(6, nil, "6"),
		withKey, again,
		unicast(1<<40, "42", "{"),
	} {
		testkit.Must(t, stream.Send(req))
	}
	testkit.Must(t, stream.CloseSend())
	got, err := replies(t, stream)
	equal(t, "the end", err, io.EOF)
	equal(t, "replies", len(got), 9)
	equal(t, "recipients", got[2].GetMulticast().GetRecipients(), 2)
	equal(t, "the first of a key", got[7].GetUnicast().GetDuplicate(), false)
	equal(t, "the second", got[8].GetUnicast().GetDuplicate(), true)
	equal(t, "its id", got[8].GetUnicast().GetId(), got[7].GetUnicast().GetId())
	for number, want := range map[uint64]struct {
		code    codes.Code
		message string
	}{
		3:       {codes.PermissionDenied, `this needs an API key with scope "broadcast"`},
		4:       {codes.InvalidArgument, `user: at most 128 bytes, got 130`},
		5:       {codes.InvalidArgument, `send: required: unicast, multicast or broadcast`},
		6:       {codes.InvalidArgument, `users: between 1 and 10000 users, got 0`},
		1 << 40: {codes.InvalidArgument, `data: not valid JSON at byte 1: unexpected end of JSON input`},
	} {
		e := got[number].GetError()
		equal(t, fmt.Sprint(number), codes.Code(e.GetCode()), want.code)
		equal(t, fmt.Sprint(number), e.GetMessage(), want.message)
		equal(t, fmt.Sprintf("%d: details", number), len(e.GetDetails()) > 0, want.code == codes.InvalidArgument)
	}
	page := r.history(&pushv1.HistoryRequest{})
	equal(t, "stored", len(page.GetMessages()), 3)
	equal(t, "the first", page.GetMessages()[0].GetId(), got[1].GetUnicast().GetId())

	// The requests are counted as the calls that they stand for, besides the
	// one of history.
	equal(t, "Unicast", r.metric("pushd_rpc_requests_total", "Unicast|OK"), 3)
	equal(t, "Unicast", r.metric("pushd_rpc_requests_total", "Unicast|InvalidArgument"), 2)
	equal(t, "Broadcast", r.metric("pushd_rpc_requests_total", "Broadcast|PermissionDenied"), 1)
	equal(t, "other", r.metric("pushd_rpc_requests_total", "other|InvalidArgument"), 1)
}

// shuffled is a store that lets appends in that wait for it in any order.
type shuffled struct {
	history.Store
	mu      sync.Mutex
	pending []chan struct{}
	random  *rand.Rand
}

func (s *shuffled) Append(ctx context.Context, p history.Push) (history.AppendResult, error) {
	turn := make(chan struct{})
	s.mu.Lock()
	s.pending = append(s.pending, turn)
	s.mu.Unlock()
	go s.next()
	<-turn
	return s.Store.Append(ctx, p)
}

// next lets one in; it is called once for each.
func (s *shuffled) next() {
	for range 20 {
		runtime.Gosched() // others may join
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.random.IntN(len(s.pending))
	close(s.pending[i])
	s.pending = slices.Delete(s.pending, i, i+1)
}

// TestPublishOrder: whatever the store does first among what waits for it, each
// user gets what one stream sent in the order sent.
func TestPublishOrder(t *testing.T) {
	r := newRig(t, options{store: func(s history.Store) history.Store {
		return &shuffled{Store: s, random: rand.New(rand.NewPCG(1, 2))}
	}})
	stream := r.publish(keyAll)
	users := users(40)
	testkit.Must(t, r.call(&pushv1.AddMembersRequest{Group: "all", Users: users}))
	random := rand.New(rand.NewPCG(3, 4))
	want := map[string][]string{}
	const n = 800
	go func() {
		for i := range n {
			data := strconv.Itoa(i)
			var to []string
			req := broadcast(i, data)
			switch k := random.IntN(20); {
			case k == 0:
				to = users
			case k == 1:
				to = users
				req = multicast(i, nil, data)
				req.GetMulticast().Groups = []string{"all"}
			case k < 5:
				for range 1 + random.IntN(5) {
					to = append(to, users[random.IntN(len(users))])
				}
				req = multicast(i, to, data)
				slices.Sort(to)
				to = slices.Compact(slices.Clone(to))
			default:
				to = []string{users[random.IntN(len(users))]}
				req = unicast(i, to[0], data)
			}
			for _, user := range to {
				want[user] = append(want[user], data)
			}
			if stream.Send(req) != nil {
				break
			}
		}
		_ = stream.CloseSend()
	}()
	got, err := replies(t, stream)
	equal(t, "the end", err, io.EOF)
	equal(t, "replies", len(got), n)
	for _, user := range users {
		page, err := r.store.Page(t.Context(), user, history.Query{Direction: history.Forward, Limit: n})
		testkit.Must(t, err)
		var data []string
		for _, m := range page.Messages {
			data = append(data, string(m.Data))
		}
		same(t, "what "+user+" got", data, want[user])
	}
}

// held is a store whose appends wait until they are let go; arrived gets a value
// for each that waits.
type held struct {
	history.Store
	arrived chan string
	release chan struct{}
}

func newHeld() *held { return &held{arrived: make(chan string, 10_000), release: make(chan struct{})} }

func (h *held) Append(ctx context.Context, p history.Push) (history.AppendResult, error) {
	h.arrived <- string(p.Data)
	select {
	case <-h.release:
	case <-ctx.Done():
		return history.AppendResult{}, ctx.Err()
	}
	return h.Store.Append(ctx, p)
}

func (h *held) options() options {
	return options{store: func(s history.Store) history.Store { h.Store = s; return h }}
}

// await waits until n appends have arrived.
func (h *held) await(t testing.TB, n int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for i := range n {
		select {
		case <-h.arrived:
		case <-deadline:
			t.Fatalf("%d of %d appends arrived", i, n)
		}
	}
}

// TestPublishBackPressure: many requests run at once, but no more are read than
// may be in flight; then all go through.
func TestPublishBackPressure(t *testing.T) {
	h := newHeld()
	r := newRig(t, h.options())
	stream := r.publish(keyAll)
	const n, size = 400, 60_000
	data := strconv.Quote(strings.Repeat("x", size-2))
	var sending atomic.Int64
	go func() {
		for i := range n {
			sending.Store(int64(i))
			if stream.Send(unicast(i, fmt.Sprint(i), data)) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	// Users may share a stripe; what is let in waits for nothing else.
	most := maxInFlightBytes / (size + 256)
	h.await(t, most*2/3)
	awaitReaderBlocked(t)
	if more := most*2/3 + len(h.arrived); more > most {
		t.Fatalf("%d requests of %d bytes in flight, want at most %d", more, size, most)
	}
	if at := sending.Load(); at == n-1 {
		t.Error("the caller was never held back")
	}
	close(h.release)
	got, err := replies(t, stream)
	equal(t, "the end", err, io.EOF)
	equal(t, "replies", len(got), n)
}

// TestPublishBoundCountsWholeRequests: every field of a request in flight counts,
// here idempotency keys that are too long, behind a send that waits.
func TestPublishBoundCountsWholeRequests(t *testing.T) {
	h := newHeld()
	r := newRig(t, h.options())
	stream := r.publish(keyAll)
	const n, size = 400, 60_000
	key := strings.Repeat("k", size)
	testkit.Must(t, stream.Send(unicast(0, "42", "1")))
	h.await(t, 1)
	var sent atomic.Int64
	go func() {
		for i := range n {
			req := unicast(i+1, "42", "1")
			req.GetUnicast().IdempotencyKey = key
			if stream.Send(req) != nil {
				return
			}
			sent.Add(1)
		}
		_ = stream.CloseSend()
	}()
	const most = maxInFlightBytes / size
	testkit.WaitFor(t, "the stream to fill", func() bool { return sent.Load() >= most*9/10 })
	awaitReaderBlocked(t)
	// gRPC's own buffers on the way take a few more.
	if got := sent.Load(); got > most*12/10 {
		t.Errorf("%d requests of %d bytes were read, want about %d", got, size, most)
	}
	close(h.release)
	got, err := replies(t, stream)
	equal(t, "the end", err, io.EOF)
	equal(t, "replies", len(got), n+1)
	equal(t, "refused", got[1].GetError().GetMessage(), "idempotency_key: at most 128 bytes, got 60000")
}

// awaitReaderBlocked waits until the only Publish stream does not read because too
// much is in flight.
func awaitReaderBlocked(t *testing.T) {
	t.Helper()
	testkit.WaitFor(t, "the stream to stop reading", func() bool {
		return goroutinesIn("sync.(*Cond).Wait(", ".(*publishStream).take(") == 1
	})
}

// goroutinesIn returns how many goroutines are in all of the given functions.
func goroutinesIn(functions ...string) (n int) {
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
next:
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		for _, f := range functions {
			if !strings.Contains(stack, f) {
				continue next
			}
		}
		n++
	}
	return n
}

// TestPublishBroken: when the caller goes away nothing hangs, and what was
// stored of one user's messages is the beginning of what was sent.
func TestPublishBroken(t *testing.T) {
	h := newHeld()
	r := newRig(t, h.options())
	ctx, cancel := context.WithCancel(r.as(keyAll))
	defer cancel()
	stream, err := r.push.Publish(ctx)
	testkit.Must(t, err)
	for i := range 50 {
		testkit.Must(t, stream.Send(unicast(i, "42", fmt.Sprint(i))))
	}
	for range 20 {
		h.await(t, 1)
		h.release <- struct{}{}
	}
	h.await(t, 1)
	cancel()
	_, err = replies(t, stream)
	equal(t, "the end", status.Code(err), codes.Canceled)
	r.server.GRPC().GracefulStop() // returns when the handler has
	page, err := r.store.Page(t.Context(), "42", history.Query{Direction: history.Forward, Limit: 100})
	testkit.Must(t, err)
	if len(page.Messages) < 20 {
		t.Fatalf("%d stored", len(page.Messages))
	}
	for i, m := range page.Messages {
		equal(t, "message", string(m.Data), fmt.Sprint(i))
	}
}

// TestPublishDrain: what was taken is answered, then the stream ends and says
// that the rest was not carried out, which is true.
func TestPublishDrain(t *testing.T) {
	h := newHeld()
	r := newRig(t, h.options())
	stream, idle := r.publish(keyAll), r.publish(keyAll)
	const n = 20
	for i := range n {
		testkit.Must(t, stream.Send(unicast(i, fmt.Sprint("first", i), "1")))
	}
	h.await(t, n*2/3) // users may share a stripe
	r.server.Drain()
	for i := n; i < 2*n; i++ {
		_ = stream.Send(unicast(i, fmt.Sprint("late", i), "1"))
	}
	_, err := replies(t, idle)
	equal(t, "a stream with nothing in flight", status.Code(err), codes.Unavailable)
	close(h.release)
	got, err := replies(t, stream)
	p := grpcProblem(t, err)
	equal(t, "the end", p.Code, codes.Unavailable)
	equal(t, "message", p.Message, "this node is shutting down; requests without a reply were not carried out")
	equal(t, "retry", p.Details[0].RetryDelay, "1s")
	if len(got) < n*2/3 {
		t.Errorf("%d replies", len(got))
	}
	for i := range 2 * n {
		user := fmt.Sprint("first", i)
		if i >= n {
			user = fmt.Sprint("late", i)
		}
		page, err := r.store.Page(t.Context(), user, history.Query{Limit: 1})
		testkit.Must(t, err)
		equal(t, "stored for "+user+" and answered", len(page.Messages) == 1, got[uint64(i)].GetUnicast().GetId() != "")
	}
	r.server.GRPC().GracefulStop()
}

// TestPublishPanic costs one request.
func TestPublishPanic(t *testing.T) {
	var armed atomic.Bool
	armed.Store(true)
	r := newRig(t, breaking(func() error {
		if armed.Swap(false) {
			panic("store fell over")
		}
		return nil
	}))
	stream := r.publish(keyAll)
	for i := range 3 {
		testkit.Must(t, stream.Send(unicast(i, "42", "1")))
	}
	testkit.Must(t, stream.CloseSend())
	got, err := replies(t, stream)
	equal(t, "the end", err, io.EOF)
	equal(t, "the first", codes.Code(got[0].GetError().GetCode()), codes.Internal)
	equal(t, "its message", got[0].GetError().GetMessage(), "internal error")
	equal(t, "the others", got[1].GetUnicast().GetId() != "" && got[2].GetUnicast().GetId() != "", true)
	equal(t, "panics", r.metric("pushd_rpc_panics_total", ""), 1)
}

// TestPublishRate: a stream over its rate is held back, not refused.
func TestPublishRate(t *testing.T) {
	a, _ := authWith(t, keyFile+"slow send "+keySlow+" rate=20,burst=2\n")
	r := newRig(t, options{auth: a})
	began := time.Now()
	stream := r.publish(keySlow) // takes one
	for i := range 5 {
		testkit.Must(t, stream.Send(unicast(i, "42", "1")))
	}
	testkit.Must(t, stream.CloseSend())
	got, err := replies(t, stream)
	equal(t, "the end", err, io.EOF)
	for i := range uint64(5) {
		equal(t, "error", got[i].GetError() == nil && got[i].GetUnicast() != nil, true)
	}
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("6 requests at 20 a second, 2 at once, took %v", took)
	}
	if n := r.metric("pushd_rpc_rate_limited_total", "slow"); n < 1 || n > 4 {
		t.Errorf("%d requests waited", n)
	}
}

// TestPublishRatePastDeadline: a stream whose deadline is too near for the next
// request ends with the reason, and the requests before it have their replies.
func TestPublishRatePastDeadline(t *testing.T) {
	a, _ := authWith(t, keyFile+"slow send "+keySlow+" rate=0.01,burst=3\n")
	r := newRig(t, options{auth: a})
	stream := r.publish(keySlow) // takes one; its deadline is 10 s
	for i := range 5 {
		testkit.Must(t, stream.Send(unicast(i, "42", "1")))
	}
	got, err := replies(t, stream)
	equal(t, "replies", len(got), 2)
	equal(t, "the last of them", got[1].GetUnicast().GetId() != "", true)
	p := grpcProblem(t, err)
	equal(t, "code", p.Code, codes.ResourceExhausted)
	contains(t, "message", p.Message, "this API key may make 0.01 requests a second, 3 at once: wait 1m")
	contains(t, "retry", p.Details[0].RetryDelay, "s")
	equal(t, "log", r.log.String(), "")
}

// TestPublishOfRevokedKey: a key that is taken out of the file ends its streams
// too.
func TestPublishOfRevokedKey(t *testing.T) {
	a, path := authWith(t, keyFile+"gone send "+keySlow+"\n")
	r := newRig(t, options{auth: a})
	stream := r.publish(keySlow)
	testkit.Must(t, stream.Send(unicast(0, "42", "1")))
	_, err := stream.Recv()
	testkit.Must(t, err)
	testkit.Must(t, os.WriteFile(path, []byte(keyFile), 0o600))
	testkit.Must(t, a.Reload())
	for i := 1; err == nil; i++ {
		if err = stream.Send(unicast(i, "42", "1")); err != nil {
			break
		}
		_, err = stream.Recv()
	}
	_, err = replies(t, stream)
	equal(t, "the end", status.Code(err), codes.Unauthenticated)
}

// TestPublishUndecodable: what is no request ends the stream, after the replies
// to what was before, and nothing else.
func TestPublishUndecodable(t *testing.T) {
	r := newRig(t, options{})
	stream, err := r.conn.NewStream(r.as(keyAll), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		pushv1.PushService_Publish_FullMethodName, grpc.ForceCodec(rawCodec{}))
	testkit.Must(t, err)
	testkit.Must(t, stream.SendMsg([]byte("\x0a\x05ab")))
	var reply []byte
	equal(t, "code", status.Code(stream.RecvMsg(&reply)), codes.Internal)
	testkit.Must(t, r.call(&pushv1.UnicastRequest{User: "43", Data: hi}))
}

// TestPublishTakesWhatCallsTake: each control of a message does on a stream what
// it does in a call.
func TestPublishTakesWhatCallsTake(t *testing.T) {
	r := newRig(t, options{})
	w := r.watch(&pushv1.WatchRequest{Kinds: []string{"unacked"}})
	c := r.subscribe(keyAll, "42", "")
	stream := r.publish(keyAll)
	topic := func(n int, data string) *pushv1.PublishRequest {
		req := unicast(n, "44", data)
		req.GetUnicast().CollapseKey = "job"
		return req
	}
	brief := broadcast(3, "3")
	brief.GetBroadcast().Ephemeral = true
	asks := multicast(4, []string{"42", "43"}, "4")
	asks.GetMulticast().NotifyUnackedAfter = durationpb.New(time.Second)
	excluding := unicast(5, "42", "5")
	excluding.GetUnicast().ExcludeConnection = c.hello.GetConnection()
	bad := unicast(6, "42", "6")
	bad.GetUnicast().Ephemeral, bad.GetUnicast().NotifyUnackedAfter = true, durationpb.New(time.Second)
	for _, req := range []*pushv1.PublishRequest{topic(1, "1"), topic(2, "2"), brief, asks, excluding, bad, unicast(7, "42", "7")} {
		testkit.Must(t, stream.Send(req))
	}
	testkit.Must(t, stream.CloseSend())
	got, err := replies(t, stream)
	equal(t, "the end", err, io.EOF)
	equal(t, "refused", got[6].GetError().GetMessage(), "notify_unacked_after: cannot be set together with ephemeral: such a message is not kept")
	c.expect("3", "4", "7")
	for user, want := range map[string]string{"42": "[4 5 7]", "44": "[2]"} {
		var kept []string
		for _, m := range r.must(&pushv1.HistoryRequest{User: user}).(*pushv1.HistoryResponse).GetMessages() {
			kept = append(kept, string(m.GetData()))
		}
		equal(t, "kept of "+user, fmt.Sprint(kept), want)
	}
	id := got[4].GetMulticast().GetId()
	w.expect("unacked 42 "+id, "unacked 43 "+id)
}
