package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
	"pushd.example/internal/testkit"
)

// gauge returns the value of a gauge without labels.
func (r *rig) gauge(name string) int {
	r.t.Helper()
	families, err := r.metrics.Gather()
	testkit.Must(r.t, err)
	for _, f := range families {
		if f.GetName() == name {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}

func (r *rig) held() int { return r.gauge("pushd_rpc_held_bytes") }

// fillLarge gives user a history of the given number of messages of 60 KB.
func (r *rig) fillLarge(user string, messages int) {
	r.t.Helper()
	large := []byte(quote(strings.Repeat("z", 60_000)))
	for range messages {
		testkit.Must(r.t, r.call(&pushv1.UnicastRequest{User: user, Data: large}))
	}
}

// another returns another gRPC connection, whose window does not grow.
func (r *rig) another() *grpc.ClientConn {
	r.t.Helper()
	c, err := grpc.NewClient(r.conn.Target(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStaticStreamWindowSize(64<<10))
	testkit.Must(r.t, err)
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask calls History on a stream, which does not read the answer by itself.
func ask(t testing.TB, ctx context.Context, c *grpc.ClientConn, user string) grpc.ClientStream {
	t.Helper()
	stream, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, pushv1.PushService_History_FullMethodName)
	testkit.Must(t, err)
	limit := int32(1000)
	testkit.Must(t, stream.SendMsg(&pushv1.HistoryRequest{User: user, After: "0", Limit: &limit}))
	testkit.Must(t, stream.CloseSend())
	return stream
}

// TestUnreadAnswers: what waits for a gRPC connection that reads none of its
// answers is bounded, also by 400 calls; other connections of the same key are
// served, and when the caller reads after all, it gets its answers.
func TestUnreadAnswers(t *testing.T) {
	r := newRig(t, options{})
	r.fillLarge("42", 20)
	lazy := r.another()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+keyRead))
	defer cancel()
	var asked []grpc.ClientStream
	for range 400 {
		asked = append(asked, ask(t, ctx, lazy, "42"))
	}
	testkit.WaitFor(t, "the connection's share to be used up", func() bool {
		return r.held() > connectionBudget-(maxPageBytes+64<<10)
	})
	testkit.WaitFor(t, "many calls to wait", func() bool { return goroutinesIn(".(*budget).wait(") > 100 })
	if held := r.held(); held > connectionBudget {
		t.Errorf("%d bytes are held for one connection, want at most %d", held, connectionBudget)
	}
	limit := int32(1000)
	page, err := r.push.History(r.as(keyRead), &pushv1.HistoryRequest{User: "42", After: "0", Limit: &limit})
	testkit.Must(t, err)
	var reading sync.WaitGroup
	for _, stream := range asked {
		reading.Go(func() {
			var got pushv1.HistoryResponse
			if err := stream.RecvMsg(&got); err != nil {
				// On a slow machine a call waits too long for the others.
				if p := grpcProblem(t, err); !strings.HasPrefix(p.Message, "this connection has as many unread answers") {
					t.Error(err)
				}
			} else if len(got.GetMessages()) != len(page.GetMessages()) {
				t.Errorf("%d messages, want %d", len(got.GetMessages()), len(page.GetMessages()))
			}
		})
	}
	reading.Wait()
	testkit.WaitFor(t, "all to be freed", func() bool { return r.held() == 0 })
}

// TestUnreadAnswersAreFreed: what waits for a caller is freed when the caller gives
// up its calls, and when it closes its connection.
func TestUnreadAnswersAreFreed(t *testing.T) {
	r := newRig(t, options{})
	r.fillLarge("42", 10)
	for _, end := range []string{"calls", "connection"} {
		lazy := r.another()
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+keyRead))
		for range 8 {
			ask(t, ctx, lazy, "42")
		}
		testkit.WaitFor(t, "answers to wait", func() bool { return r.held() > 0 })
		if end == "connection" {
			testkit.Must(t, lazy.Close())
		}
		cancel()
		testkit.WaitFor(t, "all to be freed after the "+end, func() bool { return r.held() == 0 })
	}
}

// TestUnreadREST: what waits for callers of REST that do not read their answers is
// bounded for each API key, and other keys are served.
func TestUnreadREST(t *testing.T) {
	// The kernel takes a page of the usual size.
	const size = 8 << 20
	r := newRig(t, options{limits: Limits{MaxData: size}})
	testkit.Must(t, r.call(&pushv1.UnicastRequest{User: "42", Data: []byte(quote(strings.Repeat("z", size-2)))}))
	testkit.Must(t, r.call(&pushv1.UnicastRequest{User: "43", Data: hi}))
	request := fmt.Sprintf("GET /v1/users/42/history?after=0&limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", keyAll)
	for range 2 * keyBudget / size {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		testkit.Must(t, err)
		defer c.Close()
		testkit.Must(t, c.(*net.TCPConn).SetReadBuffer(4096))
		_, err = io.WriteString(c, request)
		testkit.Must(t, err)
	}
	testkit.WaitFor(t, "the key's share to be used up", func() bool { return r.held() > keyBudget-size })
	if held := r.held(); held > keyBudget {
		t.Errorf("%d bytes are held for one key, want at most %d", held, keyBudget)
	}
	equal(t, "another key", r.rest(keyRead, "GET", "/v1/users/43/history?limit=1", "").status, 200)
}

// TestOwnPages: a client token gets smaller pages than an API key, from which it
// reads on.
func TestOwnPages(t *testing.T) {
	r := newRig(t, options{})
	r.fillLarge("42", 20)
	for credential, messages := range map[string]int{keyRead: maxPageBytes / 60_002, r.token("42", time.Now().Add(time.Hour)): maxOwnPageBytes / 60_002} {
		limit := int32(1000)
		page, err := r.push.History(r.as(credential), &pushv1.HistoryRequest{User: "42", After: "0", Limit: &limit})
		testkit.Must(t, err)
		equal(t, "messages", len(page.GetMessages()), messages)
		equal(t, "has_more", page.GetHasMore(), true)
	}
}

// TestBudget: a caller over its share waits until it is free, and another caller
// does not; a call that is larger than the share is served alone.
func TestBudget(t *testing.T) {
	b, err := newBudget(nil)
	testkit.Must(t, err)
	user, other := auth.Caller{User: "42"}, auth.Caller{User: "43"}
	first, err := b.reserve(t.Context(), user, 10*userBudget)
	testkit.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.reserve(ctx, user, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a second reservation of the same user: %v", err)
	}
	second, err := b.reserve(ctx, other, userBudget)
	testkit.Must(t, err)
	first.shrink(userBudget - 1)
	third, err := b.reserve(ctx, user, 1)
	testkit.Must(t, err)
	for _, r := range []*reservation{first, second, third, first} {
		r.free()
	}
	first.shrink(0)
	equal(t, "callers left", len(b.callers), 0)
	if !b.total.free.TryAcquire(totalBudget) {
		t.Error("bytes are still held")
	}
}

// TestStalledConnection: a connection that takes nothing of what waits for it is
// closed, and all of that is freed, also what is queued too late.
func TestStalledConnection(t *testing.T) {
	b, err := newBudget(nil)
	testkit.Must(t, err)
	creds, err := newTransport(prometheus.NewRegistry())
	testkit.Must(t, err)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	raw, _, err := creds.ServerHandshake(ours)
	testkit.Must(t, err)
	c := raw.(*connection)
	reserve := func() *reservation {
		r, err := b.reserve(t.Context(), auth.Caller{Name: "shop"}, 1000)
		testkit.Must(t, err)
		r.conn = c
		return r
	}
	first, second := reserve(), reserve()
	c.queued(first)
	c.written(first)
	c.stall()
	if err := raw.SetDeadline(time.Time{}); err != nil {
		t.Errorf("closed although nothing waits: %v", err)
	}
	c.queued(second)
	c.stall()
	if _, err := theirs.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %v, want EOF", err)
	}
	c.queued(reserve())
	equal(t, "callers left", len(b.callers), 0)
}

// TestStreamsHold: every stream that may hold something for as long as it is open
// has that reserved, so that a caller cannot open any number of them.
func TestStreamsHold(t *testing.T) {
	r := newRig(t, options{})
	key, own := r.as(keyAll), r.as(r.token("42", time.Now().Add(time.Hour)))
	ctx, cancel := context.WithCancel(key)
	defer cancel()
	_, err := r.connections.Watch(ctx, &pushv1.WatchRequest{})
	testkit.Must(t, err)
	_, err = r.push.Publish(ctx)
	testkit.Must(t, err)
	testkit.WaitFor(t, "Watch and Publish to hold", func() bool { return r.held() == 2*streamBytes })
	ownCtx, cancelOwn := context.WithCancel(own)
	defer cancelOwn()
	_, err = r.push.Subscribe(ownCtx, &pushv1.SubscribeRequest{User: "42"})
	testkit.Must(t, err)
	testkit.WaitFor(t, "Subscribe to hold", func() bool { return r.held() == 3*streamBytes })
	cancel()
	cancelOwn()
	testkit.WaitFor(t, "all to be freed", func() bool { return r.held() == 0 })
}

// TestPublishStreamsShare: the requests in flight on several streams of one
// connection have one bound, and all go through when the store takes them.
func TestPublishStreamsShare(t *testing.T) {
	h := newHeld()
	r := newRig(t, h.options())
	const streams, n, size = 3, 180, 60_000
	data := quote(strings.Repeat("x", size-2))
	var sending sync.WaitGroup
	for range streams {
		stream := r.publish(keyAll)
		sending.Go(func() {
			for i := range n {
				if stream.Send(unicast(i, fmt.Sprint(i), data)) != nil {
					break
				}
			}
			_ = stream.CloseSend()
		})
		sending.Go(func() {
			got, err := replies(t, stream)
			if err != io.EOF || len(got) != n {
				t.Errorf("%d replies, then %v", len(got), err)
			}
		})
	}
	testkit.WaitFor(t, "the connection's share to be used up", func() bool { return r.held() > connectionBudget-2*size })
	if held := r.held(); held > connectionBudget {
		t.Errorf("%d bytes are held for one connection, want at most %d", held, connectionBudget)
	}
	close(h.release)
	sending.Wait()
	testkit.WaitFor(t, "all to be freed", func() bool { return r.held() == 0 })
}

// TestUnreadSubscription: a subscriber that does not read makes the server hold a few
// messages, and gets all when it reads.
func TestUnreadSubscription(t *testing.T) {
	r := newRig(t, options{})
	const n, size = 100, 60_002
	r.fillLarge("42", n)
	stream, err := pushv1.NewPushServiceClient(r.another()).Subscribe(r.as(keyRead), &pushv1.SubscribeRequest{User: "42", Cursor: "0"})
	testkit.Must(t, err)
	testkit.WaitFor(t, "messages to wait", func() bool { return r.held() > 0 })
	for got := 0; got < n; {
		if held := r.held(); held > 5*size {
			t.Fatalf("%d bytes are held for one subscription", held)
		}
		resp, err := stream.Recv()
		testkit.Must(t, err)
		if resp.GetMessage() != nil {
			got++
		}
	}
	testkit.WaitFor(t, "all to be freed", func() bool { return r.held() == 0 })
}
