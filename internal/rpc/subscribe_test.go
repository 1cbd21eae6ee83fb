package rpc

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// subscriber is a subscription as its client sees it.
type subscriberClient struct {
	grpc.ServerStreamingClient[pushv1.SubscribeResponse]
	t      testing.TB
	hello  *pushv1.Hello
	cursor string // after the last response
}

func (r *rig) subscribe(credential, user, cursor string) *subscriberClient {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.as(credential))
	r.t.Cleanup(cancel)
	stream, err := r.push.Subscribe(ctx, &pushv1.SubscribeRequest{User: user, Cursor: cursor})
	testkit.Must(r.t, err)
	c := &subscriberClient{ServerStreamingClient: stream, t: r.t}
	first, err := stream.Recv()
	testkit.Must(r.t, err)
	c.hello, c.cursor = first.GetHello(), first.GetCursor()
	if c.hello == nil {
		r.t.Fatalf("first came %v, want a hello", first)
	}
	return c
}

// expect reads one message for each of data.
func (c *subscriberClient) expect(data ...string) {
	c.t.Helper()
	for _, want := range data {
		resp, err := c.Recv()
		testkit.Must(c.t, err)
		equal(c.t, "data", string(resp.GetMessage().GetData()), want)
		c.cursor = resp.GetCursor()
	}
}

func (c *subscriberClient) expectEnd(want codes.Code, message string) {
	c.t.Helper()
	_, err := c.Recv()
	equal(c.t, "code", status.Code(err), want)
	contains(c.t, "message", status.Convert(err).Message(), message)
}

func (r *rig) send(user, data string) {
	r.t.Helper()
	_, err := r.push.Unicast(r.as(keyAll), &pushv1.UnicastRequest{User: user, Data: []byte(data)})
	testkit.Must(r.t, err)
}

func TestSubscribe(t *testing.T) {
	r := newRig(t, options{})
	token := r.token("42", time.Now().Add(time.Hour))
	r.send("42", "1")
	r.send("42", "2")
	c := r.subscribe(token, "42", "0")
	equal(t, "unread", c.hello.GetUnread(), 2)
	c.expect("1", "2")
	r.send("43", `"not for 42"`)
	r.send("42", "3")
	_, err := r.push.Broadcast(r.as(keyAll), &pushv1.BroadcastRequest{Data: []byte("4")})
	testkit.Must(t, err)
	c.expect("3", "4")

	// The cursor resumes, acks, and is that of history.
	r.send("42", "5")
	next := c.cursor
	resumed := r.subscribe(token, "42", c.cursor)
	equal(t, "cursor", resumed.cursor, c.cursor)
	resumed.expect("5")
	ack, err := r.push.Ack(r.as(token), &pushv1.AckRequest{User: "42", Cursor: c.cursor})
	testkit.Must(t, err)
	equal(t, "unread after the ack", ack.GetUnread(), 1)
	c.expect("5")
	for _, one := range []*subscriberClient{c, resumed} {
		resp, err := one.Recv()
		testkit.Must(t, err)
		equal(t, "read mark", resp.GetReadMark().GetCursor(), next)
		equal(t, "unread by it", resp.GetReadMark().GetUnread(), 1)
		equal(t, "cursor with it", resp.GetCursor(), resumed.cursor)
	}
	r.subscribe(token, "42", "ack").expect("5")
	page, err := r.push.History(r.as(token), &pushv1.HistoryRequest{User: "42", After: next})
	testkit.Must(t, err)
	equal(t, "page after it", len(page.GetMessages()), 1)
	equal(t, "cursor of the page", page.GetCursor(), resumed.cursor)

	// It is a connection.
	list, err := r.connections.ListConnections(r.as(keyAll), &pushv1.ListConnectionsRequest{User: "42"})
	testkit.Must(t, err)
	for _, one := range list.GetConnections() {
		equal(t, "transport", one.GetTransport(), "grpc")
		contains(t, "address", one.GetAddress(), "127.0.0.1:")
		contains(t, "user agent", one.GetUserAgent(), "grpc-go/")
	}
	_, err = r.connections.Disconnect(r.as(keyAll), &pushv1.DisconnectRequest{User: "42", Connection: c.hello.GetConnection(), Reason: "enough"})
	testkit.Must(t, err)
	c.expectEnd(codes.Aborted, "disconnected by the backend: enough")
}

func TestSubscribeIsRefused(t *testing.T) {
	r := newRig(t, options{})
	for _, c := range []struct {
		req     *pushv1.SubscribeRequest
		code    codes.Code
		message string
	}{
		{&pushv1.SubscribeRequest{}, codes.InvalidArgument, "user: required"},
		{&pushv1.SubscribeRequest{User: longUser}, codes.InvalidArgument, "user: at most 128 bytes, got 130"},
		{&pushv1.SubscribeRequest{User: "42", Cursor: "x"}, codes.InvalidArgument, `cursor: bad cursor: want 22 characters or "0", got 1`},
		{&pushv1.SubscribeRequest{User: "42", Cursor: future}, codes.InvalidArgument, "cursor: bad cursor: it names a message from the future"},
	} {
		stream, err := r.push.Subscribe(r.as(keyAll), c.req)
		testkit.Must(t, err)
		_, err = stream.Recv()
		equal(t, "code", status.Code(err), c.code)
		equal(t, "message", status.Convert(err).Message(), c.message)
	}
	testkit.Must(t, r.disconnect("out", time.Hour))
	stream, err := r.push.Subscribe(r.as(keyAll), &pushv1.SubscribeRequest{User: "out"})
	testkit.Must(t, err)
	_, err = stream.Recv()
	equal(t, "refused", status.Code(err), codes.PermissionDenied)
	equal(t, "details", len(status.Convert(err).Details()), 1)
}

// TestSubscribeEndsWithTheToken: also when nothing happens on the stream.
func TestSubscribeEndsWithTheToken(t *testing.T) {
	r := newRig(t, options{})
	r.subscribe(r.token("42", time.Now().Add(2*time.Second)), "42", "").expectEnd(codes.Unauthenticated, "expired")
}

// TestSubscribeKeepsUp: a reader gets everything, in order, whoever publishes
// how fast.
func TestSubscribeKeepsUp(t *testing.T) {
	r := newRig(t, options{})
	c := r.subscribe(keyAll, "42", "")
	const messages = 900 // fewer than an inbox keeps
	done := make(chan error, 1)
	go func() {
		for i := range messages {
			p := history.Push{Kind: history.Unicast, Users: []string{"42"}, Data: fmt.Append(nil, i)}
			if _, err := r.store.Append(t.Context(), p); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range messages {
		c.expect(fmt.Sprint(i))
	}
	testkit.Must(t, <-done)
}

// TestSubscribeEphemeral: what is not kept comes with the cursor as it was.
func TestSubscribeEphemeral(t *testing.T) {
	r := newRig(t, options{})
	c := r.subscribe(keyAll, "42", "")
	r.send("42", "1")
	c.expect("1")
	before := c.cursor
	re := r.rest(keyAll, "POST", "/v1/multicast", `{"users":["41","42"],"data":2,"ephemeral":true}`)
	equal(t, "status", re.status, 200)
	contains(t, "reply", re.body, `"online":1,"recipients":0,"online_users":1,"unknown":0}`)
	resp, err := c.Recv()
	testkit.Must(t, err)
	equal(t, "data", string(resp.GetMessage().GetData()), "2")
	equal(t, "log", resp.GetMessage().GetLog(), "none")
	equal(t, "kind", resp.GetMessage().GetKind(), "multicast")
	equal(t, "cursor", resp.GetCursor(), before)
	r.send("42", "3")
	c.expect("3")
	page, err := r.push.History(r.as(keyAll), &pushv1.HistoryRequest{User: "42"})
	testkit.Must(t, err)
	equal(t, "messages", len(page.GetMessages()), 2)
	equal(t, "unread", page.GetUnread(), 2)
}

// TestCollapseKey: it comes with the message by every door, and takes the place
// of the one before.
func TestCollapseKey(t *testing.T) {
	r := newRig(t, options{})
	c := r.subscribe(keyAll, "42", "")
	for _, data := range []string{"1", "2"} {
		re := r.rest(keyAll, "POST", "/v1/unicast", `{"user":"42","data":`+data+`,"collapse_key":"job \"7\""}`)
		equal(t, "status", re.status, 200)
		resp, err := c.Recv()
		testkit.Must(t, err)
		equal(t, "data", string(resp.GetMessage().GetData()), data)
		equal(t, "collapse key", resp.GetMessage().GetCollapseKey(), `job "7"`)
	}
	_, err := r.push.Broadcast(r.as(keyAll), &pushv1.BroadcastRequest{Data: hi})
	testkit.Must(t, err)
	page, err := r.push.History(r.as(keyAll), &pushv1.HistoryRequest{User: "42"})
	testkit.Must(t, err)
	equal(t, "messages", len(page.GetMessages()), 2)
	equal(t, "unread", page.GetUnread(), 2)
	re := r.rest(keyAll, "GET", "/v1/users/42/history", "")
	contains(t, "history", re.body, `"data":2,"collapse_key":"job \"7\""},{`)
	if page.GetMessages()[1].CollapseKey != nil {
		t.Error("a message without a collapse key has one")
	}
}
