package conn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"pushd.example/internal/auth"
	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/history/memory"
	"pushd.example/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// patience bounds every wait for something that should happen at once.
const patience = 20 * time.Second

// rig is a server over the memory engine.
type rig struct {
	t       testing.TB
	ctx     context.Context
	store   history.Store
	server  *conn.Server
	metrics *prometheus.Registry
}

// serve runs a server for the test; change, if not nil, changes its Config.
func serve(t testing.TB, change func(*conn.Config)) *rig {
	t.Helper()
	store, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	open, err := auth.New(auth.Config{Open: true})
	if err != nil {
		t.Fatal(err)
	}
	metrics := prometheus.NewRegistry()
	cfg := conn.Config{Listen: "127.0.0.1:0", Store: store, Messages: store, Auth: open, Metrics: metrics}
	cfg.Limits.MessageRate = -1
	if change != nil {
		change(&cfg)
	}
	server, err := conn.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	t.Cleanup(func() {
		cancel()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := cfg.Store.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return &rig{t, ctx, cfg.Store, server, metrics}
}

// url returns where user connects, with further query values as pairs.
func (r *rig) url(user string, query ...string) string {
	q := url.Values{"user": {user}}
	for i := 0; i+1 < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	return "ws://" + r.server.Addr().String() + "/push?" + q.Encode()
}

// client is a connection through an independent WebSocket library.
type client struct {
	t     testing.TB
	ctx   context.Context
	ws    *websocket.Conn
	hello message
}

// message is whatever a server says.
type message struct {
	Type, Connection, User, Cursor, ID, Log, Kind, Time, Code, Message string
	Unread                                                             int
	Truncated                                                          bool
	Data                                                               json.RawMessage
}

// connect connects user and reads hello.
func (r *rig) connect(user string, query ...string) *client {
	r.t.Helper()
	ws, _, err := websocket.Dial(r.ctx, r.url(user, query...), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	r.t.Cleanup(func() { ws.CloseNow() })
	c := &client{t: r.t, ctx: r.ctx, ws: ws}
	if c.hello = c.read(); c.hello.Type != "hello" || c.hello.User != user {
		r.t.Fatalf("want hello, got %+v", c.hello)
	}
	return c
}

// read reads one message.
func (c *client) read() message {
	c.t.Helper()
	m, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c *client) next() (m message, err error) {
	_, b, err := c.ws.Read(c.ctx)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

// say sends a text message.
func (c *client) say(text string) {
	c.t.Helper()
	if err := c.ws.Write(c.ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// closed reads until the connection is closed and returns how.
func (c *client) closed() websocket.CloseError {
	c.t.Helper()
	for {
		if _, err := c.next(); err != nil {
			var ce websocket.CloseError
			if !errors.As(err, &ce) {
				c.t.Fatalf("want a Close frame, got %v", err)
			}
			return ce
		}
	}
}

// wantData reads messages and fails unless their data are these, in order.
func (c *client) wantData(data ...string) {
	c.t.Helper()
	for _, want := range data {
		if m := c.read(); m.Type != "message" || string(m.Data) != want {
			c.t.Fatalf("want the message %s, got %+v with data %s", want, m, m.Data)
		}
	}
}

func (r *rig) append(p history.Push) history.AppendResult {
	r.t.Helper()
	receipt, err := r.store.Append(r.ctx, p)
	if err != nil {
		r.t.Fatal(err)
	}
	return receipt
}

func (r *rig) unicast(user, data string) {
	r.t.Helper()
	r.append(history.Push{Kind: history.Unicast, Users: []string{user}, Data: []byte(data)})
}

func (r *rig) multicast(data string, users ...string) {
	r.t.Helper()
	r.append(history.Push{Kind: history.Multicast, Users: users, Data: []byte(data)})
}

func (r *rig) broadcast(data string) {
	r.t.Helper()
	r.append(history.Push{Kind: history.Broadcast, Data: []byte(data)})
}

func numbers(from, to int) (s []string) {
	for i := from; i <= to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

func TestLiveDelivery(t *testing.T) {
	r := serve(t, nil)
	a1, a2, b := r.connect("a"), r.connect("a"), r.connect("b")
	if a1.hello.Connection == a2.hello.Connection {
		t.Errorf("two connections are both called %s", a1.hello.Connection)
	}
	r.unicast("a", `{"n":9007199254740993}`)
	r.unicast("b", "2")
	r.multicast("3", "a", "b", "nobody")
	r.broadcast("4")
	a1.wantData(`{"n":9007199254740993}`, "3", "4")
	a2.wantData(`{"n":9007199254740993}`, "3", "4")
	b.wantData("2", "3", "4")
}

func TestReplayThenLive(t *testing.T) {
	r := serve(t, nil)
	first := r.connect("a")
	r.unicast("a", "1")
	first.wantData("1")
	first.ws.CloseNow()
	var want []string
	for i := 2; i <= 350; i++ { // more than three pages
		switch data := fmt.Sprint(i); i % 3 {
		case 0:
			r.broadcast(data)
		case 1:
			r.multicast(data, "a", "b")
		default:
			r.unicast("a", data)
		}
		want = append(want, fmt.Sprint(i))
	}
	second := r.connect("a", "cursor", first.hello.Cursor)
	if second.hello.Unread != 350 {
		t.Errorf("unread %d, want 350", second.hello.Unread)
	}
	second.wantData("1")
	second.wantData(want...)
	r.broadcast("351")
	second.wantData("351")
	if fresh := r.connect("a"); fresh.hello.Cursor == first.hello.Cursor {
		t.Errorf("a connection without cursor began at the old one %s", fresh.hello.Cursor)
	}
}

func TestAckAndPing(t *testing.T) {
	r := serve(t, nil)
	c := r.connect("a")
	r.unicast("a", "1")
	r.unicast("a", "2")
	one, two := c.read(), c.read()
	_ = two
	id, err := history.ParseID(one.ID)
	if err != nil {
		t.Fatal(err)
	}
	c.say(`{"type":"ack","cursor":"` + history.Cursor{Inbox: id}.String() + `"}`)
	if m := c.read(); m.Type != "acked" || m.Unread != 1 {
		t.Fatalf("want acked with 1 unread, got %+v", m)
	}
	c.say(`{"type":"ping"}`)
	if m := c.read(); m.Type != "pong" {
		t.Fatalf("want pong, got %+v", m)
	}
	if err := c.ws.Ping(c.ws.CloseRead(c.ctx)); err != nil {
		t.Fatalf("ping frame: %v", err)
	}
	unread := r.connect("a", "cursor", "ack")
	unread.wantData("2")
}

func TestWhatClientsSayWrong(t *testing.T) {
	r := serve(t, nil)
	c := r.connect("a")
	for _, row := range []struct{ say, code string }{
		{`{`, "bad_json"},
		{`[1]`, "bad_json"},
		{`{"type":"subscribe"}`, "unknown_type"},
		{`{}`, "unknown_type"},
		{`{"type":"ack"}`, "bad_cursor"},
		{`{"type":"ack","cursor":"?"}`, "bad_cursor"},
		{`{"type":"ack","cursor":"` + strings.Repeat("z", 3) + `"}`, "bad_cursor"},
		{`{"type":"ack","cursor":"` + history.Cursor{Inbox: history.MaxID}.String() + `"}`, "bad_cursor"},
	} {
		c.say(row.say)
		if m := c.read(); m.Type != "error" || m.Code != row.code || m.Message == "" {
			t.Errorf("%s: want the error %s, got %+v", row.say, row.code, m)
		}
	}
	r.unicast("a", "1")
	c.wantData("1")
}
