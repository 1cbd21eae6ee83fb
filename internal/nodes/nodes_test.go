package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"pushd.example/internal/auth"
	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/history/memory"
	"pushd.example/internal/nodes"
	"pushd.example/internal/redistest"
	"pushd.example/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// node is one member with a clients' door.
type node struct {
	door *conn.Server
	all  *nodes.Nodes
}

// start runs a node whose Redis is at one of addrs.
func start(t *testing.T, name string, addrs ...string) node {
	t.Helper()
	return startWith(t, name, func(d nodes.Directory) nodes.Directory { return d }, addrs...)
}

// startWith is start with the node's own directory changed by local.
func startWith(t *testing.T, name string, local func(nodes.Directory) nodes.Directory, addrs ...string) node {
	t.Helper()
	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrs, MaxRetries: -1})
	store, err := memory.New(memory.Config{})
	testkit.Must(t, err)
	open, err := auth.New(auth.Config{Open: true})
	testkit.Must(t, err)
	door, err := conn.New(conn.Config{Listen: "127.0.0.1:0", Node: name, Store: store, Auth: open})
	testkit.Must(t, err)
	var served sync.WaitGroup
	served.Go(func() { testkit.Must(t, door.Serve()) })
	all, err := nodes.Join(nodes.Config{Redis: client, Prefix: "test:", Node: name, Local: local(door), Timeout: time.Second})
	testkit.Must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		testkit.Must(t, all.Close())
		testkit.Must(t, door.Shutdown(ctx))
		served.Wait()
		testkit.Must(t, client.Close())
	})
	return node{door, all}
}

func (n node) connect(t *testing.T, user string) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), fmt.Sprintf("ws://%s/push?user=%s", n.door.Addr(), user), nil)
	testkit.Must(t, err)
	t.Cleanup(func() { ws.CloseNow() })
	_, _, err = ws.Read(t.Context()) // hello
	testkit.Must(t, err)
	return ws
}

// await waits until the nodes hear each other, since subscribing takes a moment:
// each sees a new user's connections on all of them.
func await(t *testing.T, user string, members ...node) {
	t.Helper()
	for _, n := range members {
		n.connect(t, user)
	}
	for _, n := range members {
		testkit.WaitFor(t, "the nodes to find each other", func() bool {
			counts, err := n.all.Presence(t.Context(), []string{user})
			return err == nil && counts[0] == len(members)
		})
	}
}

// checkDirectory sends every request to three nodes that share Redis.
func checkDirectory(t *testing.T, addrs ...string) {
	a, b, c := start(t, "a", addrs...), start(t, "b", addrs...), start(t, "c", addrs...)
	await(t, "everybody", a, b, c)
	a.connect(t, "42")
	phone := b.connect(t, "42")
	b.connect(t, "43")
	ctx := t.Context()

	counts, err := c.all.Presence(ctx, []string{"42", "nobody", "43"})
	testkit.Must(t, err)
	if fmt.Sprint(counts) != "[2 0 1]" {
		t.Errorf("presence %v", counts)
	}

	var online []string
	for after, more := "", true; more; {
		var page []string
		page, more, err = a.all.Online(ctx, after, 2)
		testkit.Must(t, err)
		online = append(online, page...)
		after = page[len(page)-1]
	}
	if strings.Join(online, " ") != "42 43 everybody" {
		t.Errorf("online %q", online)
	}
	if page, more, err := a.all.Online(ctx, "42", 100); err != nil || more || strings.Join(page, " ") != "43 everybody" {
		t.Errorf("online after 42: %q, more: %v, %v", page, more, err)
	}

	list, err := c.all.Connections(ctx, "42")
	testkit.Must(t, err)
	var on []string
	for _, connection := range list {
		on = append(on, connection.Node)
	}
	slices.Sort(on)
	if strings.Join(on, " ") != "a b" {
		t.Errorf("connections %+v", list)
	}

	i := slices.IndexFunc(list, func(c conn.Connection) bool { return c.Node == "b" })
	n, err := a.all.Disconnect(ctx, conn.Departure{User: "42", Connection: list[i].ID, Reason: "moved"})
	testkit.Must(t, err)
	var end websocket.CloseError
	if _, _, err := phone.Read(ctx); n != 1 || !errors.As(err, &end) || end.Code != 4002 || end.Reason != "moved" {
		t.Errorf("disconnected %d; the client: %v", n, err)
	}

	_, err = a.all.Disconnect(ctx, conn.Departure{User: "44", Refuse: time.Hour})
	testkit.Must(t, err)
	if n, err := c.all.Disconnect(ctx, conn.Departure{User: "everybody"}); err != nil || n != 3 {
		t.Errorf("disconnected %d of 3 on as many nodes, %v", n, err)
	}
	for _, n := range []node{a, b, c} {
		_, res, err := websocket.Dial(ctx, fmt.Sprintf("ws://%s/push?user=44", n.door.Addr()), nil)
		if err == nil || res.StatusCode != 403 {
			t.Errorf("a refused user was let in: %v", res)
		}
	}
}

func TestDirectory(t *testing.T) {
	checkDirectory(t, redistest.Start(t, redistest.Options{}).Addr())
}

func TestDirectoryOnCluster(t *testing.T) {
	c := redistest.StartCluster(t, redistest.Options{})
	var addrs []string
	for _, s := range c.Nodes {
		addrs = append(addrs, s.Addr())
	}
	checkDirectory(t, addrs...)
}

// TestRedisGoesAndComes: while Redis is away requests fail at once; when it is
// back they work.
func TestRedisGoesAndComes(t *testing.T) {
	server := redistest.Start(t, redistest.Options{})
	a, b := start(t, "a", server.Addr()), start(t, "b", server.Addr())
	await(t, "before", a, b)
	server.Kill()
	if _, err := a.all.Presence(t.Context(), []string{"42"}); !errors.Is(err, history.ErrUnavailable) {
		t.Errorf("without Redis: %v", err)
	}
	testkit.Must(t, server.Restart())
	await(t, "after", a, b)
}

// TestSilentNode: a node that receives the request and does not reply makes it
// fail, because the result would be incomplete.
func TestSilentNode(t *testing.T) {
	server := redistest.Start(t, redistest.Options{})
	a := start(t, "a", server.Addr())
	await(t, "a", a)
	silent := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer silent.Close()
	sub := silent.SSubscribe(t.Context(), "{test:}ask")
	defer sub.Close()
	_, err := sub.Receive(t.Context()) // it is subscribed
	testkit.Must(t, err)
	_, err = a.all.Presence(t.Context(), []string{"42"})
	if !errors.Is(err, history.ErrUnavailable) || !strings.Contains(err.Error(), "1 of 2 replied") {
		t.Errorf("got %v", err)
	}
}

// listed is a directory with other connections.
type listed struct {
	nodes.Directory
	list []conn.Connection
}

func (l listed) Connections(context.Context, string) ([]conn.Connection, error) { return l.list, nil }

func TestConnectionsOldestFirst(t *testing.T) {
	addr := redistest.Start(t, redistest.Options{}).Addr()
	at := func(seconds int64, id string) conn.Connection {
		return conn.Connection{ID: id, Since: time.Unix(seconds, 0)}
	}
	with := func(list ...conn.Connection) func(nodes.Directory) nodes.Directory {
		return func(d nodes.Directory) nodes.Directory { return listed{d, list} }
	}
	a := startWith(t, "a", with(at(1, "first"), at(4, "fourth")), addr)
	b := startWith(t, "b", with(at(2, "second"), at(3, "third")), addr)
	await(t, "42", a, b)
	list, err := a.all.Connections(t.Context(), "42")
	testkit.Must(t, err)
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	if got := strings.Join(ids, " "); got != "first second third fourth" {
		t.Errorf("connections %s", got)
	}
}

// failing is a directory that cannot tell who is online.
type failing struct{ nodes.Directory }

func (failing) Online(context.Context, string, int) ([]string, bool, error) {
	return nil, false, errors.New("shutting down")
}

// TestFailingNode: the error of one node fails the call, and names the node.
func TestFailingNode(t *testing.T) {
	addr := redistest.Start(t, redistest.Options{}).Addr()
	a := start(t, "a", addr)
	b := startWith(t, "b", func(d nodes.Directory) nodes.Directory { return failing{d} }, addr)
	await(t, "42", a, b)
	users, _, err := a.all.Online(t.Context(), "", 10)
	if !errors.Is(err, history.ErrUnavailable) || !strings.Contains(err.Error(), "node b: shutting down") {
		t.Errorf("got %q, %v", users, err)
	}
}

// TestMoreOnline: a page that is full with the users of one node is not the last
// if that node has more.
func TestMoreOnline(t *testing.T) {
	a := start(t, "a", redistest.Start(t, redistest.Options{}).Addr())
	await(t, "42", a)
	a.connect(t, "43")
	for _, c := range []struct {
		after string
		want  string
		more  bool
	}{{"", "42", true}, {"42", "43", false}, {"43", "", false}} {
		users, more, err := a.all.Online(t.Context(), c.after, 1)
		if err != nil || more != c.more || strings.Join(users, " ") != c.want {
			t.Errorf("after %q: %q, more: %v, %v", c.after, users, more, err)
		}
	}
}
