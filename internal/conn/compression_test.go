package conn_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"pushd.example/internal/conn"
	"pushd.example/internal/testkit"
)

// connectAs connects user with a library's way of compressing.
func (r *rig) connectAs(user string, mode websocket.CompressionMode, query ...string) *client {
	r.t.Helper()
	ws, _, err := websocket.Dial(r.ctx, r.url(user, query...), &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
	if err != nil {
		r.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	r.t.Cleanup(func() { ws.CloseNow() })
	c := &client{t: r.t, ctx: r.ctx, ws: ws}
	if c.hello = c.read(); c.hello.Type != "hello" {
		r.t.Fatalf("want hello, got %+v", c.hello)
	}
	return c
}

// long is data that is compressed.
func long(i int) string {
	return fmt.Sprintf(`{"n":%d,"text":"%s"}`, i, strings.Repeat("again and ", 100))
}

// All clients get the same, compressed or not; every message is compressed once,
// and only what is long and live.
func TestCompression(t *testing.T) {
	r := serve(t, func(c *conn.Config) { c.Compression = true })
	var clients []*client
	for _, mode := range []websocket.CompressionMode{
		websocket.CompressionDisabled, websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover,
	} {
		clients = append(clients, r.connectAs("a", mode), r.connectAs("a", mode))
	}
	r.unicast("a", long(1))
	r.unicast("a", "2")
	r.multicast(long(3), "a", "b", "nobody")
	want := []string{long(1), "2", long(3)}
	for i := 4; i < 40; i++ { // some of which go out together
		r.broadcast(long(i))
		want = append(want, long(i))
	}
	for _, c := range clients {
		c.wantData(want...)
		c.say(`{"type":"ping","pad":"` + strings.Repeat("x", 2000) + `"}`)
		if m := c.read(); m.Type != "pong" {
			t.Fatalf("want pong, got %+v", m)
		}
	}
	testkit.WaitFor(t, "what was done to be counted", func() bool {
		return metric(t, r.metrics, `pushd_conn_messages_deflated_total`) == 4*38 &&
			metric(t, r.metrics, `pushd_conn_messages_inflated_total`) == 4 &&
			metric(t, r.metrics, `pushd_conn_deflations_total`) == 38
	})
	before, after := metric(t, r.metrics, `pushd_conn_deflated_bytes_total{stage="before"}`), metric(t, r.metrics, `pushd_conn_deflated_bytes_total{stage="after"}`)
	if after == 0 || before < 4*after {
		t.Errorf("%v bytes became %v", before, after)
	}
	back := r.connectAs("a", websocket.CompressionContextTakeover, "cursor", clients[0].hello.Cursor)
	back.wantData(want...)
	if n := metric(t, r.metrics, `pushd_conn_deflations_total`); n != 38 {
		t.Errorf("%v messages were compressed after some were read from history, want 38", n)
	}
}

// If no client takes compressed messages, or the server must not send any, no client
// compresses.
func TestNoCompression(t *testing.T) {
	for name, row := range map[string]struct {
		on   bool
		mode websocket.CompressionMode
	}{
		"not offered": {true, websocket.CompressionDisabled},
		"off":         {false, websocket.CompressionNoContextTakeover},
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, func(c *conn.Config) { c.Compression = row.on })
			c := r.connectAs("a", row.mode)
			r.broadcast(long(1))
			c.wantData(long(1))
			if n := metric(t, r.metrics, `pushd_conn_deflations_total`); n != 0 {
				t.Errorf("%v messages were compressed", n)
			}
		})
	}
}
