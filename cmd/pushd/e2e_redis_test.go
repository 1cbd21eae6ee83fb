package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/redistest"
	"pushd.example/internal/testkit"
)

// startOn runs a node on the Redis at url.
func startOn(t testing.TB, url, node string, args ...string) *server {
	t.Helper()
	return start(t, append([]string{"-dev", "-redis", url, "-node", node}, args...)...)
}

// threeNodes starts a Redis with three nodes, which also get args.
func threeNodes(t *testing.T, args ...string) []*server {
	t.Helper()
	url := redistest.Start(t, redistest.Options{}).URL()
	var nodes []*server
	for i := range 3 {
		nodes = append(nodes, startOn(t, url, fmt.Sprintf("n%d", i+1), args...))
	}
	return nodes
}

// TestE2ERedisNodes spreads users over three nodes and pushes into all of them,
// over both doors: everybody gets what is theirs, once and in order.
func TestE2ERedisNodes(t *testing.T) {
	nodes := threeNodes(t)
	const users = 6
	clients := map[string][]*client{}
	expected := map[string][]string{}
	for i := range users {
		user := fmt.Sprintf("u%d", i)
		clients[user] = append(clients[user], mustDial(t, nodes[i%3], user, ""))
	}
	clients["u0"] = append(clients["u0"], mustDial(t, nodes[1], "u0", "")) // a second device, elsewhere
	connections := users + 1

	push := func(node *server, i int) {
		t.Helper()
		user, other := fmt.Sprintf("u%d", i%users), fmt.Sprintf("u%d", (i+1)%users)
		online := len(clients[user])
		switch i % 3 {
		case 0:
			r := node.push("unicast", fmt.Sprintf(`{"user":%q,"data":%d}`, user, i))
			wantOnline(t, "unicast to "+user, r.Online, online)
			expected[user] = append(expected[user], r.ID)
		case 1:
			r := node.push("multicast", fmt.Sprintf(`{"users":[%q,%q],"data":%d}`, user, other, i))
			wantOnline(t, "multicast", r.Online, online+len(clients[other]))
			expected[user], expected[other] = append(expected[user], r.ID), append(expected[other], r.ID)
		case 2:
			r := node.push("broadcast", fmt.Sprintf(`{"data":%d}`, i))
			wantOnline(t, "broadcast", r.Online, connections)
			for u := range clients {
				expected[u] = append(expected[u], r.ID)
			}
		}
	}
	for i := range 45 {
		push(nodes[i/3%3], i)
	}
	api, _ := grpcClient(t, nodes[2])
	u, err := api.Unicast(t.Context(), &pushv1.UnicastRequest{User: "u0", Data: []byte(`"over gRPC"`)})
	if err != nil {
		t.Fatal(err)
	}
	wantOnline(t, "unicast over gRPC", int(u.GetOnline()), 2)
	expected["u0"] = append(expected["u0"], u.GetId())

	for user, list := range clients {
		for _, c := range list {
			for _, id := range expected[user] {
				if f := c.next(t); f.ID != id {
					t.Fatalf("%s got %s, want %s", user, f.ID, id)
				}
			}
		}
		for _, n := range nodes {
			if got := frameIDs(n.wholeHistory(user)); !slices.Equal(got, expected[user]) {
				t.Errorf("history of %s on %s:\n got %v\nwant %v", user, n.Node, got, expected[user])
			}
		}
	}
}

func wantOnline(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: online %d, want %d", what, got, want)
	}
}

// TestE2ERedisNodesComeAndGo drains one node, kills another and starts a third
// while pushes run. Clients that come back with their cursors have everything.
func TestE2ERedisNodesComeAndGo(t *testing.T) {
	url := redistest.Start(t, redistest.Options{}).URL()
	stays, drained, killed := startOn(t, url, "stays"), startOn(t, url, "drained"), startOn(t, url, "killed")
	a, b, c := follow(t, stays, "a", nil), follow(t, drained, "b", nil), follow(t, killed, "c", nil)

	var all []string
	push := func(n int) {
		t.Helper()
		for range n {
			r := stays.push("multicast", `{"users":["a","b","c"],"data":1}`)
			all = append(all, r.ID)
		}
	}
	push(50)
	var pushing sync.WaitGroup
	pushing.Go(func() { push(300) })
	b.await(t, 60)
	drained.terminate()
	if code := websocket.CloseStatus(b.end()); code != 4200 {
		t.Errorf("the drained node closed with %d, want 4200", code)
	}
	joined := startOn(t, url, "joined")
	b = follow(t, joined, "b", b)
	c.await(t, 60)
	killed.kill()
	_ = c.end()
	c = follow(t, joined, "c", c)
	pushing.Wait()
	push(20)
	for _, f := range []*followed{a, b, c} {
		if got := f.await(t, len(all)); !slices.Equal(got, all) {
			t.Errorf("%s got %d messages, not the %d that were pushed in their order", f.user, len(got), len(all))
		}
	}
}

// followed is a client that reads in the background.
type followed struct {
	user string
	*client
	done chan error // how its connection ended

	mu   sync.Mutex // guards what follows
	ids  []string
	more chan struct{} // closed and made anew with each message
}

// follow connects user to s, resuming where an earlier connection ended.
func follow(t *testing.T, s *server, user string, before *followed) *followed {
	t.Helper()
	f := &followed{user: user, done: make(chan error, 1), more: make(chan struct{})}
	query := ""
	if before != nil {
		query, f.ids = "&cursor="+before.cursor.String(), before.ids
	}
	f.client = mustDial(t, s, user, query)
	go func() {
		for {
			m, err := f.read(context.Background())
			if err != nil {
				f.done <- err
				return
			}
			f.mu.Lock()
			f.ids = append(f.ids, m.ID)
			close(f.more)
			f.more = make(chan struct{})
			f.mu.Unlock()
		}
	}()
	return f
}

// end returns how the connection ended.
func (f *followed) end() error { return <-f.done }

// await waits for n messages, in all connections together, and returns them.
func (f *followed) await(t *testing.T, n int) []string {
	t.Helper()
	for deadline := time.After(patience); ; {
		f.mu.Lock()
		ids, more := f.ids, f.more
		f.mu.Unlock()
		if len(ids) >= n {
			return ids
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%s got %d messages, want %d", f.user, len(ids), n)
		}
	}
}

// TestE2ERedisAway kills Redis under a node with a client: the socket stays
// open, calls say at once that the history is away, and everything goes on
// when it is back.
func TestE2ERedisAway(t *testing.T) {
	redis := redistest.Start(t, redistest.Options{AOF: true})
	s := startOn(t, redis.URL(), "n1")
	c := mustDial(t, s, "42", "")
	first := s.push("unicast", `{"user":"42","data":1}`)
	want(t, c.next(t), first.ID, "unicast", "1")

	redis.Kill()
	for range 20 { // also one after the other, nothing piles up
		for _, call := range [][3]string{{"POST", "/v1/unicast", `{"user":"42","data":2}`}, {"GET", "/v1/users/42/history", ""}} {
			if status, err := s.rest(call[0], call[1], call[2], nil); status != http.StatusServiceUnavailable {
				t.Fatalf("%s %s without Redis: %d, %v; want 503", call[0], call[1], status, err)
			}
		}
	}
	testkit.WaitForSuccess(t, "/readyz to turn red", func() error { return s.readyz(http.StatusServiceUnavailable) })
	if err := redis.Restart(); err != nil {
		t.Fatal(err)
	}
	testkit.WaitForSuccess(t, "/readyz to turn green", func() error { return s.readyz(http.StatusOK) })
	second := s.push("unicast", `{"user":"42","data":3}`)
	want(t, c.next(t), second.ID, "unicast", "3")
	if got := frameIDs(s.wholeHistory("42")); !slices.Equal(got, []string{first.ID, second.ID}) {
		t.Errorf("history %v, want %v and %v", got, first.ID, second.ID)
	}
}

// readyz returns nil if /readyz answers with the wanted status.
func (s *server) readyz(status int) error {
	resp, err := http.Get("http://" + s.Admin + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != status {
		return fmt.Errorf("it says %s", resp.Status)
	}
	return nil
}

// TestE2ERedisCutOff cuts one of two nodes off from Redis: what was pushed
// through the other meanwhile arrives, on the same socket, when it is back.
func TestE2ERedisCutOff(t *testing.T) {
	redis := redistest.Start(t, redistest.Options{})
	proxy := redistest.NewProxy(t, redis.Addr())
	cutOff, well := startOn(t, proxy.URL(), "cut-off"), startOn(t, redis.URL(), "well")
	c := mustDial(t, cutOff, "42", "")
	first := well.push("unicast", `{"user":"42","data":1}`)
	want(t, c.next(t), first.ID, "unicast", "1")

	proxy.Refuse(true)
	proxy.Cut()
	testkit.WaitForSuccess(t, "the node to notice", func() error { return cutOff.readyz(http.StatusServiceUnavailable) })
	second := well.push("unicast", `{"user":"42","data":2}`)
	third := well.push("broadcast", `{"data":3}`)
	proxy.Refuse(false)
	got := map[string]bool{c.next(t).ID: true, c.next(t).ID: true} // two logs, in any order
	if !got[second.ID] || !got[third.ID] {
		t.Errorf("got %v, want %v and %v", got, second.ID, third.ID)
	}
	testkit.WaitForSuccess(t, "the node to be well again", func() error { return cutOff.readyz(http.StatusOK) })
}
