package conn_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

func (r *rig) connections(user string) []conn.Connection {
	r.t.Helper()
	list, err := r.server.Connections(r.ctx, user)
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

func TestConnectionsAreDescribed(t *testing.T) {
	r := serve(t, func(c *conn.Config) { c.Node = "node-1" })
	before := time.Now().Add(-2 * time.Second)
	long := strings.Repeat("a", 300) + "\xff"
	for _, agent := range []string{"Browser/1", "Browser/1", long} {
		ws, _, err := websocket.Dial(r.ctx, r.url("42"), &websocket.DialOptions{HTTPHeader: http.Header{"User-Agent": {agent}}})
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
	}
	other := r.connect("43")

	list := r.connections("42")
	if len(list) != 3 {
		t.Fatalf("want 3 connections, got %+v", list)
	}
	var agents []string
	for _, c := range list {
		agents = append(agents, c.UserAgent)
		host, _, err := net.SplitHostPort(c.Address)
		if err != nil || host != "127.0.0.1" {
			t.Errorf("address %q: %v", c.Address, err)
		}
		if c.User != "42" || c.Node != "node-1" || c.Since.Before(before) || c.Since.After(time.Now()) {
			t.Errorf("got %+v", c)
		}
	}
	slices.Sort(agents)
	if want := []string{"Browser/1", "Browser/1", long[:256]}; !slices.Equal(agents, want) {
		t.Errorf("user agents %q, want %q", agents, want)
	}
	if got := r.connections("43"); len(got) != 1 || got[0].ID != other.hello.Connection {
		t.Errorf("got %+v, want the connection that its hello named %s", got, other.hello.Connection)
	}
	if got := r.connections("nobody"); len(got) != 0 {
		t.Errorf("somebody: %+v", got)
	}
}

func TestPresence(t *testing.T) {
	r := serve(t, nil)
	var users []string
	for i := range 20 {
		users = append(users, fmt.Sprint("user", i))
		for range i % 3 {
			r.connect(users[i])
		}
	}
	counts, err := r.server.Presence(r.ctx, users)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range counts {
		if n != i%3 {
			t.Errorf("%s: %d connections, want %d", users[i], n, i%3)
		}
	}
}

func TestOnlineIsPagedByName(t *testing.T) {
	r := serve(t, nil)
	var want []string
	for i := range 50 {
		user := fmt.Sprintf("user%02d", i*7%50)
		want = append(want, user)
		r.connect(user)
		if i%10 == 0 {
			r.connect(user)
		}
	}
	slices.Sort(want)
	var got []string
	for after, more := "", true; more; {
		var page []string
		var err error
		if page, more, err = r.server.Online(r.ctx, after, 7); err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 || len(page) > 7 {
			t.Fatalf("a page of %d", len(page))
		}
		got = append(got, page...)
		after = page[len(page)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("online %q, want %q", got, want)
	}
}

func TestDisconnect(t *testing.T) {
	r := serve(t, nil)
	a, b, c := r.connect("42"), r.connect("42"), r.connect("43")
	disconnect := func(d conn.Departure, want int) {
		t.Helper()
		if n, err := r.server.Disconnect(r.ctx, d); err != nil || n != want {
			t.Fatalf("disconnecting %+v: %d, %v, want %d", d, n, err, want)
		}
	}
	disconnect(conn.Departure{User: "43", Connection: a.hello.Connection}, 0)
	disconnect(conn.Departure{User: "42", Connection: a.hello.Connection, Reason: "this one"}, 1)
	if end := a.closed(); end.Code != 4002 || end.Reason != "this one" {
		t.Errorf("closed with %+v", end)
	}
	b.say(`{"type":"ping"}`)
	if m := b.read(); m.Type != "pong" {
		t.Errorf("the other connection got %+v", m)
	}
	disconnect(conn.Departure{User: "42", Reason: "all"}, 1)
	if end := b.closed(); end.Code != 4002 || end.Reason != "all" {
		t.Errorf("closed with %+v", end)
	}
	disconnect(conn.Departure{User: "42"}, 0)
	testkit.WaitFor(t, "the closes to be counted", func() bool { return r.closes(`reason="disconnected"`) == 2 })
	r.unicast("43", `"still here"`)
	c.wantData(`"still here"`)
	r.connect("42") // nothing was said against it
}

func TestRefusedForATime(t *testing.T) {
	r := serve(t, nil)
	const long, short = time.Hour, 50 * time.Millisecond
	for user, d := range map[string]time.Duration{"long": long, "short": short} {
		if _, err := r.server.Disconnect(r.ctx, conn.Departure{User: user, Refuse: d}); err != nil {
			t.Fatal(err)
		}
	}
	res := r.wantStatus(http.StatusForbidden, r.url("long"))
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || s < 3500 || s > 3600 {
		t.Errorf("Retry-After %q, want about an hour", res.Header.Get("Retry-After"))
	}
	r.connect("other")
	testkit.WaitFor(t, "the short refusal to end", func() bool {
		ws, _, err := websocket.Dial(r.ctx, r.url("short"), nil)
		if err == nil {
			ws.CloseNow()
		}
		return err == nil
	})
}

// Questions to a server that has ended are answered, with an error.
func TestAskingAfterShutdown(t *testing.T) {
	r := serve(t, nil)
	r.connect("42")
	if err := r.server.Shutdown(r.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.server.Connections(r.ctx, "42"); !errors.Is(err, history.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	ended, cancel := context.WithCancel(r.ctx)
	cancel()
	if _, _, err := r.server.Online(ended, "", 1); err == nil {
		t.Error("no error")
	}
}

// A user has so many connections and no more, of whichever kind; others are
// not concerned, and who was refused leaves no trace.
func TestConnectionsPerUser(t *testing.T) {
	r := serve(t, func(c *conn.Config) { c.MaxPerUser = 2 })
	first := r.connect("42")
	sub := r.subscribe("42", history.Start{})
	r.wantStatus(http.StatusTooManyRequests, r.url("42"))
	if _, err := r.server.Subscribe(r.ctx, conn.Subscriber{User: "42"}); !errors.Is(err, conn.ErrCrowd) {
		t.Errorf("a third subscription: %v", err)
	}
	r.connect("43")
	testkit.WaitFor(t, "the refused to be detached", func() bool {
		return r.append(history.Push{Kind: history.Unicast, Users: []string{"42"}, Data: []byte("1")}).Online == 2
	})
	sub.Close()
	r.connect("42")
	first.ws.CloseNow()
	testkit.WaitFor(t, "room", func() bool {
		ws, _, err := websocket.Dial(r.ctx, r.url("42"), nil)
		if err == nil {
			ws.CloseNow()
		}
		return err == nil
	})
}
