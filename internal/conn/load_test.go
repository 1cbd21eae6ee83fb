package conn_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// reader is one device of a user: it reads, drops its connection now and then,
// and resumes where it was.
type reader struct {
	*rig
	user   string
	cursor history.Cursor
	got    []history.ID
	ends   int // messages seen that say "end": one in each log is the last
}

// read connects and reads some messages, or up to the end of both logs. It
// returns true when it has seen that.
func (d *reader) read(some int) bool {
	ws, _, err := websocket.Dial(d.ctx, d.url(d.user, "cursor", d.cursor.String()), nil)
	if err != nil {
		d.t.Error(err)
		return true
	}
	defer ws.CloseNow()
	c := &client{t: d.t, ctx: d.ctx, ws: ws}
	for n := 0; n < some; {
		m, err := c.next()
		if code := websocket.CloseStatus(err); code == 4100 {
			return false // too slow on this machine: resume
		}
		if err != nil {
			d.t.Errorf("%s: %v", d.user, err)
			return true
		}
		if m.Type != "message" {
			continue
		}
		n++
		id, err := history.ParseID(m.ID)
		if err != nil {
			d.t.Error(err)
			return true
		}
		d.got = append(d.got, id)
		if m.Log == "broadcast" {
			d.cursor.Broadcast = id
		} else {
			d.cursor.Inbox = id
		}
		if string(m.Data) == `"end"` {
			d.ends++
		}
		if d.ends == 2 {
			return true
		}
	}
	return false
}

// Users with several devices, which come and go while everything is sent at
// once: each device gets all that its user was sent, once, in the order of
// ids, and exactly what history has.
func TestNothingLostNothingTwice(t *testing.T) {
	const users, devices, senders, sends = 12, 2, 4, 150
	r := serve(t, func(cfg *conn.Config) { cfg.Limits.Loops = 3 })
	name := func(i int) string { return fmt.Sprintf("user %d", i) }
	var sending, reading sync.WaitGroup
	for s := range senders {
		sending.Go(func() {
			for i := range sends {
				switch data := fmt.Sprint(i); (s + i) % 4 {
				case 0:
					r.broadcast(data)
				case 1:
					r.multicast(data, name(i%users), name((i+1)%users), name((i+5)%users))
				default:
					r.unicast(name(rand.IntN(users)), data)
				}
			}
		})
	}
	readers := make([]*reader, 0, users*devices)
	for u := range users {
		for range devices {
			d := &reader{rig: r, user: name(u)}
			readers = append(readers, d)
			reading.Go(func() {
				for !d.read(1 + rand.IntN(60)) {
				}
			})
		}
	}
	sending.Wait()
	for u := range users {
		r.unicast(name(u), `"end"`)
	}
	r.broadcast(`"end"`)
	reading.Wait()
	for _, d := range readers {
		d.compare()
	}
}

// compare holds what a reader got against the user's history.
func (d *reader) compare() {
	d.t.Helper()
	p, err := d.store.Page(d.ctx, d.user, history.Query{Direction: history.Forward, Limit: 10000})
	if err != nil {
		d.t.Fatal(err)
	}
	if len(p.Messages) != len(d.got) {
		d.t.Errorf("%s got %d messages, history has %d", d.user, len(d.got), len(p.Messages))
	}
	for i := range min(len(p.Messages), len(d.got)) {
		if p.Messages[i].ID != d.got[i] {
			d.t.Errorf("%s got %v as message %d, history has %v", d.user, d.got[i], i, p.Messages[i].ID)
			return
		}
	}
}

// A client that does not read is cut off with the code that says so; others
// notice nothing, and when it comes back it gets all.
func TestSlowClient(t *testing.T) {
	r := serve(t, func(cfg *conn.Config) { cfg.Limits.CloseTimeout = patience })
	good, slow := r.connect("good"), r.connect("slow")
	cut := make(chan struct{})
	data := `"` + strings.Repeat("x", 20<<10) + `"`
	var sent int
	go func() {
		defer close(cut)
		for r.closes(`reason="slow"`) == 0 && r.ctx.Err() == nil {
			r.broadcast(data)
			sent++
			good.wantData(data)
		}
	}()
	<-cut
	if code := slow.closed().Code; code != 4100 {
		t.Errorf("closed with %d, want 4100", code)
	}
	back := r.connect("slow", "cursor", slow.hello.Cursor)
	for range sent {
		back.wantData(data)
	}
}

// closes reads the number of closed connections off the metrics.
func (r *rig) closes(label string) float64 {
	return metric(r.t, r.metrics, "pushd_conn_closes_total{"+label+"}")
}

// metric returns one value; name is written as in the text format.
func metric(t testing.TB, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Error(err)
		return 0
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			full := f.GetName()
			for _, l := range m.GetLabel() {
				full += "{" + l.GetName() + `="` + l.GetValue() + `"}`
			}
			if full == name {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Errorf("there is no metric %s", name)
	return 0
}

// A client that catches up slowly is not cut off for it, however much there is.
func TestSlowReplayIsNotCutOff(t *testing.T) {
	r := serve(t, nil)
	data := strings.Repeat("x", 10<<10)
	const messages = 300 // 3 MB
	for i := range messages {
		r.unicast("a", fmt.Sprintf(`"%d%s"`, i, data))
	}
	c := r.connect("a", "cursor", "0")
	for i := range messages {
		if i%50 == 0 { // live messages come in between, and wait their turn
			r.unicast("a", fmt.Sprint(messages+i/50))
		}
		c.wantData(fmt.Sprintf(`"%d%s"`, i, data))
	}
	c.wantData(numbers(messages, messages+messages/50-1)...)
	if n := r.closes(`reason="slow"`); n != 0 {
		t.Errorf("%v slow clients were cut off", n)
	}
}

// A client that acks each message while it catches up slowly is not cut off for
// the answers, even where one message is longer than its backlog may be.
func TestSlowReplayWithAcks(t *testing.T) {
	r := serve(t, func(cfg *conn.Config) { cfg.Limits.ClientBacklogBytes, cfg.Limits.ClientBacklogFrames = 1, 1 })
	data := `"` + strings.Repeat("x", 100<<10) + `"`
	const messages = 40
	for range messages {
		r.unicast("a", data)
	}
	c := r.connect("a", "cursor", "0")
	got, acked := 0, 0
	for got < messages || acked < messages {
		switch m := c.read(); m.Type {
		case "message":
			got++
			id, err := history.ParseID(m.ID)
			if err != nil {
				t.Fatal(err)
			}
			c.say(fmt.Sprintf(`{"type":"ack","cursor":"%s"}`, history.Cursor{Inbox: id}))
		case "acked":
			acked++
		default:
			t.Fatalf("want messages and answers, got %+v", m)
		}
	}
}

// The longest message that -max-data allows arrives live and from history,
// compressed or not, also beside the least backlog.
func TestLongestMessage(t *testing.T) {
	r := serve(t, func(cfg *conn.Config) {
		cfg.Compression = true
		cfg.Limits.ClientBacklogBytes, cfg.Limits.ClientBacklogFrames = 1, 1
	})
	plain := r.connect("a")
	packed := r.connectAs("a", websocket.CompressionNoContextTakeover)
	data := `"` + strings.Repeat("0123456789abcdef", 1<<20-1) + `"`
	r.unicast("a", data)
	plain.wantData(data)
	packed.wantData(data)
	r.connect("a", "cursor", "0").wantData(data)
}

func TestDrain(t *testing.T) {
	r := serve(t, nil)
	a, b := r.connect("a"), r.connect("b")
	r.broadcast("1")
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- r.server.Shutdown(ctx)
	}()
	for _, c := range []*client{a, b} {
		c.wantData("1")
		if code := c.closed().Code; code != 4200 {
			t.Errorf("closed with %d, want 4200", code)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", r.server.Addr().String()); err == nil {
		t.Error("the address is still served")
	}
	r.broadcast("2") // the store goes on without followers
}

func TestShutdownBeforeServe(t *testing.T) {
	r := serve(t, nil)
	s, err := conn.New(conn.Config{Listen: "127.0.0.1:0", Store: r.store, Auth: fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(r.ctx); err != nil {
		t.Error(err)
	}
	if err := s.Serve(); err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(r.ctx); err != nil {
		t.Error(err)
	}
}

func TestHistoryCutWhileReplaying(t *testing.T) {
	r, f := serveFaulty(t, nil)
	for i := 1; i <= 150; i++ {
		r.unicast("a", fmt.Sprint(i))
	}
	f.set(func() { f.truncate = true })
	c := r.connect("a", "cursor", "0")
	c.wantData(numbers(1, 100)...)
	if code := c.closed().Code; code != 4200 {
		t.Errorf("closed with %d, want 4200: reconnect and learn that history was cut", code)
	}
}

func TestMetrics(t *testing.T) {
	r := serve(t, nil)
	c := r.connect("a", "cursor", "0")
	r.unicast("a", "1")
	r.broadcast("2")
	c.wantData("1", "2")
	c.say(`{"type":"ack","cursor":"0"}`)
	c.read()
	r.wantStatus(http.StatusBadRequest, r.url(""))
	c.ws.Close(websocket.StatusNormalClosure, "")
	// Loops publish what they counted at the end of the turn, each its own.
	testkit.WaitFor(t, "the close and the refusal to be counted", func() bool {
		return r.closes(`reason="client"`) == 1 &&
			metric(t, r.metrics, `pushd_conn_handshakes_total{status="400"}`) == 1
	})
	for name, want := range map[string]float64{
		`pushd_conn_connections{state="open"}`:         0,
		`pushd_conn_handshakes_total{status="101"}`:    1,
		`pushd_conn_handshakes_total{status="400"}`:    1,
		`pushd_conn_deliveries_total{log="inbox"}`:     1,
		`pushd_conn_deliveries_total{log="broadcast"}`: 1,
		`pushd_conn_acks_total`:                        1,
		`pushd_conn_panics_total`:                      0,
		`pushd_conn_backlog_bytes`:                     0,
		`pushd_conn_refused_total{reason="budget"}`:    0,
	} {
		if got := metric(t, r.metrics, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// Bytes that follow the request in the same packet are the first messages.
func TestMessageBehindTheRequest(t *testing.T) {
	r := serve(t, func(cfg *conn.Config) { cfg.Limits.Loops = 4 })
	for i := range 8 { // users of several loops
		c, err := net.Dial("tcp", r.server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		ping := "\x81\x8f\x00\x00\x00\x00" + `{"type":"ping"}`
		fmt.Fprintf(c, "GET /push?user=%d HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s", i, ping)
		var got []byte
		for !strings.HasSuffix(string(got), `{"type":"pong"}`) {
			buf := make([]byte, 1000)
			n, err := c.Read(buf)
			if err != nil {
				t.Fatalf("after %q: %v", got, err)
			}
			got = append(got, buf[:n]...)
		}
	}
}
