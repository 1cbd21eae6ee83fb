package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
	"pushd.example/internal/history/watch"
)

// watcherClient is a Watch stream as its caller sees it.
type watcherClient struct {
	grpc.ServerStreamingClient[pushv1.WatchResponse]
	t        testing.TB
	position string // after the last response
	pending  []*pushv1.Event
}

func (r *rig) watch(req *pushv1.WatchRequest) *watcherClient {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.as(keyRead))
	r.t.Cleanup(cancel)
	stream, err := r.connections.Watch(ctx, req)
	must(r.t, err)
	w := &watcherClient{ServerStreamingClient: stream, t: r.t}
	if req.GetPosition() == "" {
		equal(r.t, "events in the first response", len(w.recv().GetEvents()), 0)
	}
	return w
}

func (w *watcherClient) recv() *pushv1.WatchResponse {
	w.t.Helper()
	resp, err := w.Recv()
	must(w.t, err)
	w.position = resp.GetPosition()
	return resp
}

// expect reads one event for each text.
func (w *watcherClient) expect(want ...string) {
	w.t.Helper()
	for _, text := range want {
		for len(w.pending) == 0 {
			resp := w.recv()
			equal(w.t, "lost", resp.GetLost(), false)
			w.pending = resp.GetEvents()
		}
		e := w.pending[0]
		w.pending = w.pending[1:]
		equal(w.t, "event", e.GetKind()+" "+e.GetUser()+" "+e.GetCursor()+e.GetMessage(), text)
		if age := time.Since(e.GetTime().AsTime()); age < -time.Minute || age > time.Minute {
			w.t.Errorf("%s happened %v ago", text, age)
		}
	}
}

func (r *rig) attach(user string) {
	r.t.Helper()
	_, err := r.store.Attach(r.t.Context(), user, history.Start{})
	must(r.t, err)
}

func TestWatch(t *testing.T) {
	r := newRig(t, options{})
	kinds := []string{"connected", "disconnected", "acked"}
	all := r.watch(&pushv1.WatchRequest{Kinds: kinds})
	some := r.watch(&pushv1.WatchRequest{Kinds: []string{"connected", "acked"}, Users: []string{"42", "44"}})
	begin := all.position

	c := r.subscribe(keyAll, "42", "")
	r.attach("43")
	r.send("42", "1")
	c.expect("1")
	_, err := r.push.Ack(r.as(keyAll), &pushv1.AckRequest{User: "42", Cursor: c.cursor})
	must(t, err)
	r.attach("44")
	all.expect("connected 42 ", "connected 43 ", "acked 42 "+c.cursor, "connected 44 ")
	some.expect("connected 42 ", "acked 42 "+c.cursor, "connected 44 ")

	// A position is good again and again, and on a stream that asks for less.
	r.watch(&pushv1.WatchRequest{Kinds: kinds, Position: begin}).expect("connected 42 ", "connected 43 ", "acked 42 "+c.cursor, "connected 44 ")
	r.watch(&pushv1.WatchRequest{Kinds: kinds, Position: begin, Users: []string{"43"}}).expect("connected 43 ")

	r.store.Detach("44")
	all.expect("disconnected 44 ")
}

// TestWatchDelivered: live and out of history, but not broadcasts.
func TestWatchDelivered(t *testing.T) {
	r := newRig(t, options{})
	w := r.watch(&pushv1.WatchRequest{Kinds: []string{"delivered"}})
	var ids []string
	send := func(data string) {
		resp, err := r.push.Multicast(r.as(keyAll), &pushv1.MulticastRequest{Users: []string{"42", "away"}, Data: []byte(data)})
		must(t, err)
		ids = append(ids, "delivered 42 "+resp.GetId())
	}
	send("1")
	send("2")
	c := r.subscribe(keyAll, "42", "0")
	c.expect("1", "2")
	_, err := r.push.Broadcast(r.as(keyAll), &pushv1.BroadcastRequest{Data: []byte("3")})
	must(t, err)
	send("4")
	c.expect("3", "4")
	w.expect(ids...)
}

// TestWatchUnacked: of each send that asks for it, by whatever door.
func TestWatchUnacked(t *testing.T) {
	r := newRig(t, options{})
	w := r.watch(&pushv1.WatchRequest{Kinds: []string{"unacked"}})
	soon := durationpb.New(time.Second)
	var want []string
	unicast := r.must(&pushv1.UnicastRequest{User: "42", Data: hi, NotifyUnackedAfter: soon}).(*pushv1.UnicastResponse)
	want = append(want, "unacked 42 "+unicast.GetId())
	// Time enough for one of them to ack.
	multicast := r.must(&pushv1.MulticastRequest{Users: []string{"43", "acks"}, Data: hi, NotifyUnackedAfter: durationpb.New(5 * time.Second)}).(*pushv1.MulticastResponse)
	page := r.must(&pushv1.HistoryRequest{User: "acks"}).(*pushv1.HistoryResponse)
	r.must(&pushv1.AckRequest{User: "acks", Cursor: page.GetCursor()})
	re := r.rest(keyAll, "POST", "/v1/unicast", `{"user":"44","data":1,"notify_unacked_after":"1.5s"}`)
	var sent struct{ ID string }
	must(t, json.Unmarshal([]byte(re.body), &sent))
	want = append(want, "unacked 44 "+sent.ID, "unacked 43 "+multicast.GetId())
	w.expect(want...)
}

// eventPage is a page of events over REST.
type eventPage struct {
	Position string
	Lost     bool
	Events   []struct{ Kind, User, Message string }
}

func (r *rig) listEvents(query string) (page eventPage) {
	r.t.Helper()
	re := r.rest(keyRead, "GET", "/v1/events?"+query, "")
	equal(r.t, "status of "+query, re.status, 200)
	must(r.t, json.Unmarshal([]byte(re.body), &page))
	return page
}

// TestListEvents: page after page, as a stream tells them.
func TestListEvents(t *testing.T) {
	r := newRig(t, options{})
	begin := r.listEvents("kinds=connected&kinds=unacked")
	equal(t, "at the beginning", len(begin.Events), 0)
	id := r.must(&pushv1.UnicastRequest{User: "42", Data: hi, NotifyUnackedAfter: durationpb.New(time.Second)}).(*pushv1.UnicastResponse).GetId()
	r.attach("43")
	on := "kinds=connected&kinds=unacked&position=" + begin.Position
	for range 2 { // a position is good again
		page := r.listEvents(on)
		equal(t, "events", fmt.Sprint(page.Events), "[{connected 43 }]")
	}
	at := r.listEvents(on).Position
	page := r.listEvents("kinds=connected&kinds=unacked&wait=30s&position=" + at)
	equal(t, "awaited", fmt.Sprint(page.Events), "[{unacked 42 "+id+"}]")
	began := time.Now()
	page = r.listEvents("kinds=connected&wait=0.2s&position=" + page.Position)
	equal(t, "after a while", fmt.Sprint(page.Events, page.Lost), "[] false")
	if waited := time.Since(began); waited < 200*time.Millisecond || waited > 10*time.Second {
		t.Errorf("waited %v, want 200ms", waited)
	}
	r.attach("44")
	r.attach("45")
	page = r.listEvents("kinds=connected&users=45&users=46&wait=30s&position=" + page.Position)
	equal(t, "of some users", fmt.Sprint(page.Events), "[{connected 45 }]")
	old := watch.Position{Marks: []watch.Mark{{}}}
	equal(t, "lost", r.listEvents("wait=30s&position="+old.String()).Lost, true)
}

func TestListEventsEndsAtDrain(t *testing.T) {
	r := newRig(t, options{})
	at := r.listEvents("kinds=connected").Position
	answers := make(chan reply, 1)
	go func() { answers <- r.rest(keyRead, "GET", "/v1/events?kinds=connected&wait=30s&position="+at, "") }()
	time.AfterFunc(100*time.Millisecond, r.server.Drain) // before or after it waits: all the same
	re := <-answers
	equal(t, "status", re.status, 503)
}

// TestWatchSaysWhatItLost: by a position of a log that is no more, and by one
// that knows what was not recorded.
func TestWatchSaysWhatItLost(t *testing.T) {
	r := newRig(t, options{})
	for name, position := range map[string]watch.Position{
		"of another log": {Marks: []watch.Mark{{Read: engine.SinceEpoch(time.Now()), Run: 1, Seq: 5}}},
		"of long ago":    {Marks: []watch.Mark{{}}},
	} {
		w := r.watch(&pushv1.WatchRequest{Position: position.String()})
		equal(t, name+": lost", w.recv().GetLost(), true)
		r.attach(name)
		w.expect("connected " + name + " ")
	}
}

// TestWatchEndsAtDrain: callers go on at another node, from where they were.
func TestWatchEndsAtDrain(t *testing.T) {
	r := newRig(t, options{})
	w := r.watch(&pushv1.WatchRequest{})
	r.server.Drain()
	_, err := w.Recv()
	equal(t, "code", status.Code(err), codes.Unavailable)
	equal(t, "message", status.Convert(err).Message(), "this node is shutting down")
}

// TestWatchOfASlowReader: what it does not take waits in the log, which drops
// the oldest.
func TestWatchOfASlowReader(t *testing.T) {
	r := newRig(t, options{events: 1000})
	w := r.watch(&pushv1.WatchRequest{Kinds: []string{"connected"}})
	const most = 20_000
	for i := range most {
		r.attach(fmt.Sprint("a rather long name of a user, so that buffers fill ", i))
	}
	n, lost := 0, false
	for n == 0 || w.pending[0].GetUser() != fmt.Sprint("a rather long name of a user, so that buffers fill ", most-1) {
		resp := w.recv()
		lost = lost || resp.GetLost()
		if events := resp.GetEvents(); len(events) > 0 {
			n += len(events)
			w.pending = events[len(events)-1:]
		}
	}
	if !lost || n >= most {
		t.Errorf("%d events of %d, lost: %v", n, most, lost)
	}
}

func TestWatchIsRefused(t *testing.T) {
	r := newRig(t, options{})
	for _, c := range []struct {
		req     *pushv1.WatchRequest
		message string
	}{
		{&pushv1.WatchRequest{Kinds: []string{"acked", "seen"}}, `kinds[1]: want one of connected, disconnected, acked, delivered, unacked, got "seen"`},
		{&pushv1.WatchRequest{Kinds: make([]string, 17)}, "kinds: at most 16 kinds, got 17"},
		{&pushv1.WatchRequest{Users: users(1001)}, "users: between 1 and 1000 users, got 1001"},
		{&pushv1.WatchRequest{Users: []string{"42", longUser}}, "users[1]: at most 128 bytes, got 130"},
		{&pushv1.WatchRequest{Position: "x"}, `position: bad position: "x" is damaged`},
		{&pushv1.WatchRequest{Position: watch.Position{Marks: make([]watch.Mark, 2)}.String()},
			"position: bad position: it is of a log with 2 parts, this one has 1"},
	} {
		stream, err := r.connections.Watch(r.as(keyRead), c.req)
		must(t, err)
		_, err = stream.Recv()
		equal(t, "code", status.Code(err), codes.InvalidArgument)
		equal(t, "message", status.Convert(err).Message(), c.message)
	}
}
