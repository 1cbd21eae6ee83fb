package reactor_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/testkit"
)

// long is a message that goes out in fragments, and that no system's buffers
// hold.
const long = 8 << 20

// serveOrders serves clients that say what they are sent: "long" a long message,
// "ask" an answer, and after "bye" they are closed. Their backlog may hold one
// message of any size.
func serveOrders(t *testing.T, limits reactor.Limits) *reactor.Reactor {
	t.Helper()
	limits.Loops, limits.MessageRate = 1, -1
	limits.ClientBacklogBytes, limits.ClientBacklogFrames = 1, 1
	return serve(t, reactor.Config{Limits: limits, Handler: newHooks(func(k *hooks) {
		k.message = func(l *reactor.Loop, h reactor.Handle, payload []byte) (echo bool) {
			f := l.NewFrame(0)
			defer l.Drop(f)
			switch string(payload) {
			case "long":
				f.B = proto.AppendFrame(f.B, proto.Text, []byte(strings.Repeat("x", long)))
				l.Send(h, f)
			case "ask":
				f.B = proto.AppendFrame(f.B, proto.Text, []byte("answer"))
				l.Answer(h, f)
			case "bye":
				l.Close(h, reactor.Disconnected, proto.CloseDisconnected, "")
			}
			return false
		}
	})})
}

// order sends a message and waits until the server has it.
func (c *raw) order(r *reactor.Reactor, messages ...string) {
	c.t.Helper()
	before := r.Stats().Messages
	c.write(strings.Join(messages, ""))
	testkit.WaitFor(c.t, "the messages to be read", func() bool { return r.Stats().Messages == before+uint64(len(messages)) })
}

// anyFrame reads the next frame of any kind.
func (c *raw) anyFrame() ws.Frame {
	c.t.Helper()
	h, err := ws.ReadHeader(c.in)
	if err != nil {
		c.t.Fatal(err)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	if _, err := io.ReadFull(c.in, f.Payload); err != nil {
		c.t.Fatal(err)
	}
	return f
}

func (c *raw) wantNoCloses(r *reactor.Reactor) {
	c.t.Helper()
	if closes := r.Stats().Closes; closes != [len(closes)]uint64{} {
		c.t.Errorf("connections were closed: %v", closes)
	}
}

// A client that is being sent a long message is answered, and is not closed for
// what it asks: pongs come between the fragments, answers after the message.
func TestAnswersToASlowClient(t *testing.T) {
	r := serveOrders(t, reactor.Limits{})
	c := dialRaw(t, r).upgrade()
	c.order(r, text("long"))
	testkit.WaitFor(t, "the message to wait", func() bool { return r.Stats().Backlogged == 1 })
	ping := frame(ws.NewPingFrame([]byte("p")))
	c.order(r, ping, text("ask"), ping, text("ask"), text("long"))
	for n := range 2 {
		size, pongs, answers := 0, 0, 0
		for f := (ws.Frame{}); size < long; {
			switch f = c.anyFrame(); {
			case f.Header.OpCode == ws.OpPong:
				pongs++
			case string(f.Payload) == "answer":
				answers++
			default:
				size += len(f.Payload)
			}
		}
		if size != long || pongs != 2*(1-n) || answers != 2*n {
			t.Fatalf("message %d has %d bytes; before its end come %d pongs and %d answers", n, size, pongs, answers)
		}
	}
	c.wantNoCloses(r)
}

// A Close frame comes between the fragments of a long message; the rest of the
// message does not come.
func TestCloseBetweenFragments(t *testing.T) {
	r := serveOrders(t, reactor.Limits{CloseTimeout: patience})
	c := dialRaw(t, r).upgrade()
	c.order(r, text("long"))
	testkit.WaitFor(t, "the message to wait", func() bool { return r.Stats().Backlogged == 1 })
	c.order(r, text("bye"))
	f := c.anyFrame()
	size := 0
	for ; f.Header.OpCode != ws.OpClose; f = c.anyFrame() {
		size += len(f.Payload)
	}
	if code, _ := ws.ParseCloseFrameData(f.Payload); size >= long || uint16(code) != proto.CloseDisconnected {
		t.Errorf("closed with %d after %d bytes of %d", code, size, long)
	}
	c.write(frame(ws.NewCloseFrame(f.Payload)))
	c.wantEOF()
}

// A client that asks and does not read is not read on, so that its answers take
// no room. When it reads, it gets them all.
func TestUnreadAnswersAreBounded(t *testing.T) {
	const pings = 50_000
	r := serveOrders(t, reactor.Limits{})
	c := dialRaw(t, r).upgrade()
	c.order(r, text("long"))
	testkit.WaitFor(t, "the message to wait", func() bool { return r.Stats().Backlogged == 1 })
	go func() {
		some := strings.Repeat(frame(ws.NewPingFrame([]byte(strings.Repeat("p", 100)))), 100)
		for range pings / 100 {
			if _, err := io.WriteString(c.Conn, some); err != nil {
				return // the reader says why
			}
		}
	}()
	most := 0
	for pongs, size := 0, 0; pongs < pings || size < long; {
		if f := c.anyFrame(); f.Header.OpCode == ws.OpPong {
			pongs++
		} else {
			size += len(f.Payload)
		}
		if pongs%100 == 0 {
			most = max(most, r.Stats().BacklogBytes)
		}
	}
	if most > long+1<<20 {
		t.Errorf("%d bytes waited, of which %d are the message", most, long)
	}
	c.wantNoCloses(r)
}

// A client that does not read its answers, or anything else, is closed.
func TestClientThatNeverReadsIsClosed(t *testing.T) {
	r := serveOrders(t, reactor.Limits{PingInterval: 60 * time.Millisecond, CloseTimeout: 50 * time.Millisecond})
	c := dialRaw(t, r).upgrade()
	c.order(r, text("long"))
	testkit.WaitFor(t, "the client to be closed", func() bool { return r.Stats().Closes[reactor.Slow] == 1 })
	testkit.WaitFor(t, "its backlog to be gone", func() bool { return r.Stats().BacklogBytes == 0 })
}
