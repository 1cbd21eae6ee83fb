package reactor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/testkit"
)

func TestBadFrames(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{MaxMessage: 1000, MaxFragments: 4}})
	fragment := func(op ws.OpCode, fin bool, s string) string { return frame(ws.NewFrame(op, fin, []byte(s))) }
	for _, row := range []struct {
		name, say string
		code      int
	}{
		{"unmasked", "\x81\x01x", 1002},
		{"reserved bit", "\xc1\x80\x00\x00\x00\x00", 1002},
		{"reserved opcode", "\x83\x80\x00\x00\x00\x00", 1002},
		{"fragmented ping", fragment(ws.OpPing, false, "x"), 1002},
		{"continuation of nothing", fragment(ws.OpContinuation, true, "x"), 1002},
		{"too big", text(strings.Repeat("x", 1001)), 1009},
		{"too big, declared only", "\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00", 1009},
		{"too big together", fragment(ws.OpText, false, strings.Repeat("x", 600)) +
			fragment(ws.OpContinuation, true, strings.Repeat("x", 600)), 1009},
		{"too many fragments", fragment(ws.OpText, false, "x") + strings.Repeat(fragment(ws.OpContinuation, false, "x"), 4), 1009},
		{"bad UTF-8", text("\xff"), 1007},
		{"bad close code", frame(ws.NewCloseFrame([]byte{0x03, 0xed})), 1002},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := dialRaw(t, r).upgrade()
			c.write(text("before") + row.say + text("after"))
			c.wantText("before")
			c.wantClose(row.code)
		})
	}
}

// Messages come whole, in any pieces.
func TestFramesInPieces(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{MessageRate: -1}})
	long := strings.Repeat("0123456789", 6000)
	sent := text("short") +
		frame(ws.NewFrame(ws.OpText, false, []byte("frag"))) +
		frame(ws.NewPingFrame([]byte("between"))) +
		frame(ws.NewFrame(ws.OpContinuation, true, []byte("ments"))) +
		text(long) + text("")
	for _, step := range []int{1, 2, 3, 5, 1000, 4096, 30000} {
		c := dialRaw(t, r).upgrade()
		go func() {
			for rest := sent; len(rest) > 0; {
				n := min(step, len(rest))
				if step < 10 && len(rest) < len(sent)-100 && len(rest) > 100 {
					n = min(1000, len(rest)-100) // byte by byte at both ends
				}
				if _, err := c.Conn.Write([]byte(rest[:n])); err != nil {
					return // the reader says why
				}
				rest = rest[n:]
			}
		}()
		c.wantText("short")
		if f := c.next(ws.OpPong); string(f.Payload) != "between" {
			t.Errorf("the pong holds %q", f.Payload)
		}
		c.wantText("fragments")
		c.wantText(long)
		c.wantText("")
		c.Close()
	}
	testkit.WaitFor(t, "the buffers to be given back", func() bool { return r.Stats().InputBytes == 0 })
}

func TestClosingHandshake(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{CloseTimeout: 50 * time.Millisecond}})
	for _, row := range []struct {
		name, say string
		code      ws.StatusCode // 0: none
	}{
		{"with a code", frame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "bye"))), 1000},
		{"with a code of its own", frame(ws.NewCloseFrame(ws.NewCloseFrameBody(4321, ""))), 4321},
		{"without", frame(ws.NewCloseFrame(nil)), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := dialRaw(t, r).upgrade()
			c.write(text("x") + row.say + text("too late"))
			c.wantText("x")
			f := c.next(ws.OpClose)
			if code, _ := ws.ParseCloseFrameData(f.Payload); code != row.code {
				t.Errorf("answered with code %d, want %d", code, row.code)
			}
			c.wantEOF()
		})
	}
	t.Run("a client that never lets go", func(t *testing.T) {
		c := dialRaw(t, r).upgrade()
		c.write(frame(ws.NewCloseFrame(nil)))
		c.next(ws.OpClose)
		c.wantEOF()
		testkit.WaitFor(t, "the connection to be dropped", func() bool { return r.Stats().Closing == 0 })
	})
	t.Run("a client that is just gone", func(t *testing.T) {
		dialRaw(t, r).upgrade().Close()
		// Not until Open is 0: it is that, too, before the loop has published
		// that there was a connection.
		testkit.WaitFor(t, "the connection to be dropped", func() bool { return r.Stats().Closes[reactor.Lost] == 1 })
	})
	s := r.Stats()
	if s.Closes[reactor.ByClient] != 4 || s.Closes[reactor.Lost] != 1 || s.Open != 0 {
		t.Errorf("closes were counted as %v, open are %d", s.Closes, s.Open)
	}
}

func TestPings(t *testing.T) {
	const interval = 400 * time.Millisecond // enough to answer in, on a busy machine
	r := serve(t, reactor.Config{Limits: reactor.Limits{PingInterval: interval}})
	lively, dumb := dialRaw(t, r).upgrade(), dialRaw(t, r).upgrade()
	for range 3 {
		f := lively.next(ws.OpPing)
		lively.write(frame(ws.NewPongFrame(f.Payload)))
	}
	dumb.next(ws.OpPing)
	dumb.wantClose(4102)
	lively.write(text("x"))
	lively.wantText("x")
	if n := r.Stats().Closes[reactor.Idle]; n != 1 {
		t.Errorf("%d idle closes were counted, want 1", n)
	}
}

func TestMessageRate(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{MessageRate: 0.001, MessageBurst: 3}})
	c := dialRaw(t, r).upgrade()
	c.write(text("1") + frame(ws.NewPingFrame(nil)) + text("3") + text("4"))
	c.wantText("1")
	c.next(ws.OpPong)
	c.wantText("3")
	c.wantClose(4101)
}

// Incomplete messages of all clients together take no more room than the
// limit says; complete ones go through.
func TestPartialInputIsBounded(t *testing.T) {
	const limit = 256 << 10
	r := serve(t, reactor.Config{Limits: reactor.Limits{Loops: 1, MaxInputBytes: limit, MessageRate: -1}})
	var held []*raw
	half := text(strings.Repeat("x", 60<<10))[:30<<10]
	for range 8 {
		c := dialRaw(t, r).upgrade()
		c.write(half)
		held = append(held, c)
	}
	testkit.WaitFor(t, "clients to be cut off", func() bool { return r.Stats().Closes[reactor.Input] > 0 })
	if n := r.Stats().InputBytes; n > limit {
		t.Errorf("%d bytes are kept, limit %d", n, limit)
	}
	c := dialRaw(t, r).upgrade()
	c.write(text("whole"))
	c.wantText("whole")
	for _, c := range held {
		c.Close()
	}
	testkit.WaitFor(t, "the buffers to be given back", func() bool { return r.Stats().InputBytes == 0 })
}

// stuck returns a client that sends what comes back to it, and never reads.
func stuck(t *testing.T, r *reactor.Reactor, messages int) *raw {
	t.Helper()
	c := dialRaw(t, r).upgrade()
	message := []byte(text(strings.Repeat("x", 16<<10)))
	go func() {
		for range messages {
			if _, err := c.Conn.Write(message); err != nil {
				return // cut off
			}
		}
	}()
	return c
}

func TestSlowClientIsCutOff(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{Loops: 1, MessageRate: -1, CloseTimeout: 50 * time.Millisecond}})
	good := dialRaw(t, r).upgrade()
	stuck(t, r, 1000)
	testkit.WaitFor(t, "the slow client to be cut off", func() bool {
		good.write(text("x"))
		good.wantText("x")
		return r.Stats().Closes[reactor.Slow] == 1
	})
	testkit.WaitFor(t, "its backlog to be gone", func() bool { return r.Stats().BacklogBytes == 0 })
}

// A slow client that begins to read again in time is told why it is closed,
// behind whole frames.
func TestSlowClientLearnsWhy(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{MessageRate: -1, CloseTimeout: patience}})
	c := stuck(t, r, 1000)
	testkit.WaitFor(t, "the slow client to be cut off", func() bool { return r.Stats().Closes[reactor.Slow] == 1 })
	c.wantClose(4100)
}

// A client whose backlog is within bounds but does not move is cut off too,
// even if it answers pings.
func TestStandingBacklogIsCutOff(t *testing.T) {
	const interval = 60 * time.Millisecond
	r := serve(t, reactor.Config{Limits: reactor.Limits{
		MessageRate: -1, PingInterval: interval, ClientBacklogBytes: 64 << 20, ClientBacklogFrames: 1 << 20,
		CloseTimeout: 50 * time.Millisecond,
	}})
	c := stuck(t, r, 300)
	testkit.WaitFor(t, "a backlog", func() bool { return r.Stats().Backlogged == 1 })
	testkit.WaitFor(t, "the slow client to be cut off", func() bool {
		c.Conn.Write([]byte(frame(ws.NewPongFrame(nil)))) // an error means: it was
		return r.Stats().Closes[reactor.Slow]+r.Stats().Closes[reactor.Idle] == 1
	})
}

func TestLargestBacklogsAreShed(t *testing.T) {
	const most = 1 << 20
	r := serve(t, reactor.Config{Limits: reactor.Limits{
		Loops: 1, MessageRate: -1, CloseTimeout: 50 * time.Millisecond,
		ClientBacklogBytes: 64 << 20, ClientBacklogFrames: 1 << 20, MaxBacklogBytes: most,
		Socket: &netpoll.Options{SendBuffer: 16 << 10, RecvBuffer: 64 << 10},
	}})
	good := dialRaw(t, r).upgrade()
	for range 4 {
		stuck(t, r, 400)
	}
	testkit.WaitFor(t, "clients to be shed", func() bool {
		good.write(text("x"))
		good.wantText("x")
		if n := r.Stats().BacklogBytes; n > most {
			t.Fatalf("%d bytes wait, limit %d", n, most)
		}
		return r.Stats().Closes[reactor.Shed] >= 3
	})
}
