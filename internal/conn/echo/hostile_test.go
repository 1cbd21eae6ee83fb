package main

import (
	"bytes"
	"io"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
)

// attack is what a client says without end once its WebSocket is open, and
// what comes of it.
type attack struct {
	name   string
	begin  []byte // said once
	flood  []byte
	chop   int // octets a write; 0: all
	limits reactor.Limits
	code   uint16
	why    reactor.Reason
	error  string // the word that counts it, if it is a mistake
}

func attacks() []attack {
	all := func(f frame) []byte { return bytes.Repeat(encode(f), 256) }
	more := func(s string) frame { return frame{op: opMore, part: true, payload: s} }
	begun := encode(frame{op: opText, part: true, payload: "x"})
	unlimited := reactor.Limits{MessageRate: -1}
	return []attack{
		{name: "frames of a byte", flood: all(text("x")), code: 4101, why: reactor.TooMany},
		{name: "empty frames", flood: all(blob("")), code: 4101, why: reactor.TooMany},
		{name: "frames of a byte, octet by octet", flood: all(text("x")), chop: 1, code: 4101, why: reactor.TooMany},
		{name: "pings", flood: all(ping(strings.Repeat("x", 125))), code: 4101, why: reactor.TooMany},
		{name: "pings within a message", begin: begun, flood: all(ping("")), code: 4101, why: reactor.TooMany},
		{name: "pongs", flood: all(pong("")), code: 4101, why: reactor.TooMany},
		{name: "fragments", begin: begun, flood: all(more("x")), code: 1009, error: "fragments", why: reactor.TooBig, limits: unlimited},
		{name: "empty fragments", begin: begun, flood: all(more("")), code: 1009, error: "fragments", why: reactor.TooBig, limits: unlimited},
		{name: "a length without end", begin: text("").appendHeader(nil, 1<<62), flood: []byte(strings.Repeat("x", 4096)), code: 1009, error: "too_big", why: reactor.TooBig},
		{name: "a fragment without end", begin: frame{op: opMore}.appendHeader(begun, 1<<40), flood: []byte(strings.Repeat("x", 4096)), code: 1009, error: "too_big", why: reactor.TooBig},
		{name: "requests", flood: []byte(request("/", newKey())), code: 1002, error: "opcode", why: reactor.Protocol},
		{name: "garbage", flood: bytes.Repeat([]byte{0xff}, 4096), code: 1002, error: "length", why: reactor.Protocol},
		{name: "text that is none", flood: all(text(strings.Repeat("\xff", 4096))), code: 1007, error: "utf8", why: reactor.Protocol},
		{name: "data after Close", begin: encode(bye(1000, "")), flood: all(text(strings.Repeat("x", 4096))), code: 1000, why: reactor.ByClient},
		{name: "Close after Close", flood: all(bye(3000, "")), code: 3000, why: reactor.ByClient},
	}
}

// A client that floods the server is told why it is closed, and cut off when it goes
// on.
func TestFloods(t *testing.T) {
	heapStaysSmall(t)
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			s := besiege(t, a.limits)
			c := dial(t, s.Addr())
			c.write(a.begin)
			if a.chop == 0 {
				a.chop = len(a.flood)
			}
			wait := flood(c, a.flood, a.chop)
			defer wait()
			for {
				f, err := readFrame(c.in)
				if err != nil {
					t.Errorf("want Close %d, got %v", a.code, err)
					break
				}
				if f.op == opClose {
					if f.code() != a.code {
						t.Errorf("want Close %d, got %v", a.code, f)
					}
					break
				}
			}
			s.closed(a.why, 1)
			for i, n := range s.Stats().Errors {
				want := uint64(0)
				if proto.CloseErrorMetrics[i] == a.error {
					want = 1
				}
				if n != want {
					t.Errorf("%d errors of the kind %q are counted, want %d", n, proto.CloseErrorMetrics[i], want)
				}
			}
		})
	}
}

// A client that is closed and floods the server even so is read slowly: what it
// says stays in its own system, until the time for closing is over.
func TestFloodAfterTheEnd(t *testing.T) {
	const much = 64 << 20 // more than all systems' buffers hold
	for _, row := range []struct {
		name  string
		begin []byte // makes the server close
	}{
		{"after too many messages", bytes.Repeat(encode(text("x")), 4)},
		{"after a mistake", encode(with(1, text("x")))},
		{"after a Close frame", encode(bye(1000, ""))},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := besiege(t, reactor.Limits{MessageBurst: 3, CloseTimeout: patience})
			c := dial(t, s.Addr())
			c.write(row.begin)
			s.until("the connection to be closing", func() bool { return s.Stats().Closing == 1 })
			frames := bytes.Repeat(encode(text("x")), 10<<10)
			c.conn.SetWriteDeadline(time.Now().Add(time.Second))
			var err error
			for said := 0; err == nil; said += len(frames) {
				if said > much {
					t.Fatal("the server takes whatever comes")
				}
				_, err = c.conn.Write(frames)
			}
			if !timedOut(err) {
				t.Errorf("want to be held up, got %v", err)
			}
			s.calm()
			c.reset()
		})
	}
}

// heapStaysSmall checks in the end that the heap, tests and clients included,
// never grew by more than what all servers' limits allow together.
func heapStaysSmall(t *testing.T) {
	const most = 128 << 20
	heap := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	before, peak := heap(), uint64(0)
	var watching sync.WaitGroup
	stop := make(chan struct{})
	watching.Go(func() {
		look := time.NewTicker(5 * time.Millisecond)
		defer look.Stop()
		for {
			peak = max(peak, heap())
			select {
			case <-look.C:
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		watching.Wait()
		if peak > before+most {
			t.Errorf("the heap grew from %d to %d MiB", before>>20, peak>>20)
		}
	})
}

// Half-sent frames by the thousand: as much is kept as there may be, and who
// needs more is closed.
func TestHalfFrames(t *testing.T) {
	heapStaysSmall(t)
	const clients, limit, each = 1000, 1 << 20, 8 << 10
	s := besiege(t, reactor.Limits{MaxInputBytes: limit})
	half := encode(blob(strings.Repeat("x", 60<<10)))[:8<<10]
	for range clients {
		dial(t, s.Addr()).write(half)
	}
	s.until("most to be closed", func() bool { return s.Stats().Closes[reactor.Input] >= clients-limit/each })
	s.calm()
}

// A client that finishes its messages is not disturbed by thousands that do not, be it
// that they fill all the room there is for messages or for heads.
func TestFragmentsAmongHalfFrames(t *testing.T) {
	heapStaysSmall(t)
	const clients, batch = 3000, 10
	// A loop has room for 256 of their buffers, and a message here lasts while
	// 80 come.
	s := besiege(t, reactor.Limits{MaxInputBytes: 4 << 20, MaxHeads: 100})
	half := encode(blob(strings.Repeat("x", 60<<10)))[:8<<10]
	fragments := split(opText, cut(strings.Repeat("fragment", 4<<10), 4<<10)...)
	good := dial(t, s.Addr())
	for range clients / batch / len(fragments) {
		for _, f := range fragments {
			b := encode(f)
			good.conn.SetDeadline(time.Now().Add(patience))
			good.write(b[:len(b)/2])
			for i := range batch {
				if i%2 == 0 {
					connect(t, s.Addr()).write([]byte("GET / HTTP/1.1\r\nX: "))
				}
				dial(t, s.Addr()).write(half)
			}
			good.write(b[len(b)/2:])
		}
		good.hear(text(strings.Repeat("fragment", 4<<10)))
	}
	s.until("those who began first to be closed", func() bool {
		return s.Stats().Closes[reactor.Input] > clients/2 && s.Refused()[reactor.OverHeads] > clients/4
	})
	good.write(encode(bye(1000, "")))
	good.hearClose(1000)
}

// A client that begins a message has a time to finish it, however it comes; that it
// finished others before, or speaks in between, makes no difference.
func TestUnfinishedMessages(t *testing.T) {
	long := encode(blob(strings.Repeat("x", 60<<10)))
	part := encode(frame{op: opText, part: true, payload: "x"})
	for _, row := range []struct {
		name  string
		begin []byte
		drip  []byte // said again and again
	}{
		{"half a header", []byte{0x81}, nil},
		{"half a frame", long[:1000], nil},
		{"a fragment", part, nil},
		{"a message and half of another", append(encode(text("whole")), long[:1000]...), nil},
		{"a frame byte by byte", long[:1000], []byte("x")},
		{"a fragment and pings", part, encode(ping(""))},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := besiege(t, reactor.Limits{MessageTimeout: 300 * time.Millisecond, CloseTimeout: patience})
			c := dial(t, s.Addr())
			c.write(row.begin)
			over := make(chan struct{})
			var dripping sync.WaitGroup
			dripping.Go(func() {
				pace := time.NewTicker(50 * time.Millisecond)
				defer pace.Stop()
				for row.drip != nil {
					select {
					case <-over:
						return
					case <-pace.C:
						c.conn.Write(row.drip)
					}
				}
			})
			s.closed(reactor.Unfinished, 1)
			close(over)
			dripping.Wait()
			for {
				f, err := readFrame(c.in)
				if err != nil || f.op == opClose && f.code() != 4100 {
					t.Fatalf("want Close 4100, got %v, %v", f, err)
				}
				if f.op == opClose {
					break
				}
			}
			c.conn.Close()
		})
	}
}

// A client that was refused room for a frame continues in the middle of it:
// nothing more is made of it, nor is room taken up until the connection ends.
func TestMoreAfterHalfFrames(t *testing.T) {
	s := besiege(t, reactor.Limits{MaxInputBytes: 64 << 10, CloseTimeout: patience})
	half := encode(blob(strings.Repeat("x", 60<<10)))[:50<<10]
	for _, first := range []int{50 << 10, 8 << 10} { // refused at once, and having been given room
		c := dial(t, s.Addr())
		c.write(half[:first])
		if first < len(half) {
			s.until("the first part to be kept", func() bool { return s.Stats().InputBytes > 0 })
			c.write(half[first:])
		}
		c.hearClose(4101)
		c.write(encode(blob("hello")))
		c.hearEnd()
		s.until("the buffers to be given back", func() bool { return s.Stats().InputBytes == 0 })
		c.write(bytes.Repeat(encode(blob("hello")), 100))
		c.conn.Close()
	}
	s.closed(reactor.Input, 2)
}

// endings are moments for a client to vanish in, after these bytes. If
// answer is set, it has read the server's answer before.
var endings = []struct {
	name   string
	say    func() []byte
	opened bool
	answer bool
}{
	{name: "before a word", say: func() []byte { return nil }},
	{name: "in the request", say: func() []byte { return []byte("GET / HTTP/1.1\r\nHost: x") }},
	{name: "after the request", say: func() []byte { return []byte(request("/", newKey())) }},
	{name: "with a frame behind the request", say: func() []byte { return append([]byte(request("/", newKey())), encode(text("x"))...) }},
	{name: "with half a frame behind the request", say: func() []byte { return append([]byte(request("/", newKey())), 0x81) }},
	{name: "when open", say: func() []byte { return nil }, opened: true},
	{name: "in a header", say: func() []byte { return encode(blob(strings.Repeat("x", 300)))[:3] }, opened: true},
	{name: "in a frame", say: func() []byte { return encode(blob(strings.Repeat("x", 3000)))[:300] }, opened: true},
	{name: "in a message", say: func() []byte { return encode(frame{op: opText, part: true, payload: "x"}) }, opened: true},
	{name: "with the answer unread", say: func() []byte { return encode(text(strings.Repeat("x", 60<<10))) }, opened: true},
	{name: "after Close", say: func() []byte { return encode(bye(1000, "")) }, opened: true},
	{name: "after Close, answered", say: func() []byte { return encode(bye(1000, "")) }, opened: true, answer: true},
	{name: "after a mistake", say: func() []byte { return encode(with(1, text("x"))) }, opened: true},
	{name: "after a mistake, answered", say: func() []byte { return encode(with(1, text("x"))) }, opened: true, answer: true},
}

// Clients vanish in the middle of everything, by a reset or in order.
func TestVanishing(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			s := besiege(t, reactor.Limits{})
			for i := range 20 {
				c := (*wire)(nil)
				if e.opened {
					c = dial(t, s.Addr())
				} else {
					c = connect(t, s.Addr())
				}
				c.write(e.say())
				if e.answer {
					if _, err := readFrame(c.in); err != nil {
						t.Fatal(err)
					}
				}
				if i%2 == 0 {
					c.reset()
				} else {
					c.conn.Close()
				}
			}
		})
	}
}

// A client that sends no more may still want its answers.
func TestHalfClose(t *testing.T) {
	s := besiege(t, reactor.Limits{})
	key := newKey()
	c := connect(t, s.Addr())
	c.write([]byte(request("/", key)))
	c.conn.CloseWrite()
	if err := c.upgraded(key); err != nil {
		t.Fatal(err)
	}
	c.hearEnd()
	s.closed(reactor.Lost, 1)

	c = dial(t, s.Addr())
	c.write(encode(text("last words")))
	c.conn.CloseWrite()
	c.hear(text("last words"))
	c.hearEnd()
	s.closed(reactor.Lost, 2)

	c = connect(t, s.Addr())
	c.write([]byte("GET / HTTP/1.1\r\n"))
	c.conn.CloseWrite()
	c.hearEnd()
	s.until("the half request to be counted", func() bool { return s.answered(0) == 1 })
}

// A client that does not answer a Close frame is disconnected.
func TestCloseIsNeverAnswered(t *testing.T) {
	s := besiege(t, reactor.Limits{MessageBurst: 3, CloseTimeout: 100 * time.Millisecond})
	c := dial(t, s.Addr())
	c.write(encode(pong(""), pong(""), pong(""), pong("")))
	c.hearClose(4101)
	s.closed(reactor.TooMany, 1)
	c.hearEnd()
}

// A client that opens and says nothing more, not even what a ping asks for, is
// let go of.
func TestSilence(t *testing.T) {
	const clients = 100
	s := besiege(t, reactor.Limits{PingInterval: 400 * time.Millisecond})
	var silent []*wire
	for range clients {
		silent = append(silent, dial(t, s.Addr()))
	}
	s.closed(reactor.Idle, clients)
	for _, c := range silent {
		c.hear(ping(""))
		c.hearClose(4102)
		c.hearEnd()
	}
}

// Clients that do not read, or hardly, are closed when too much waits for them,
// and nobody else waits.
func TestUnread(t *testing.T) {
	heapStaysSmall(t)
	long := encode(text(strings.Repeat("x", 16<<10)))
	for _, row := range []struct {
		name  string
		flood []byte
		reads bool // a byte now and then
		ping  time.Duration
	}{
		{"messages, read byte by byte", long, true, 0},
		{"messages, never read", long, false, 0},
		// Not read on, and closed when it has taken nothing for two intervals.
		{"pongs, never read", bytes.Repeat(encode(ping(strings.Repeat("x", 125))), 100), false, time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := besiege(t, reactor.Limits{MessageRate: -1, CloseTimeout: 100 * time.Millisecond, PingInterval: row.ping})
			c := dial(t, s.Addr())
			wait := flood(c, row.flood, len(row.flood))
			var reading sync.WaitGroup
			if row.reads {
				reading.Go(func() { trickle(c) })
			}
			s.closed(reactor.Slow, 1)
			ended := make(chan struct{})
			go func() {
				wait()
				close(ended)
			}()
			s.until("the flood to end", func() bool { // meanwhile the good client answers pings
				select {
				case <-ended:
					return true
				default:
					return false
				}
			})
			c.conn.Close()
			reading.Wait()
		})
	}
}

// trickle reads a byte now and then until the connection is closed here: what
// the system has received can be read long after the server is gone.
func trickle(c *wire) {
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	var b [1]byte
	for {
		if _, err := io.ReadFull(c.conn, b[:]); err != nil {
			return
		}
		<-pace.C
	}
}

// All backlogs together are bounded too: the largest are dropped.
func TestManyUnread(t *testing.T) {
	heapStaysSmall(t)
	s := besiege(t, reactor.Limits{
		MessageRate: -1, CloseTimeout: 100 * time.Millisecond,
		ClientBacklogBytes: 64 << 20, ClientBacklogFrames: 1 << 20, MaxBacklogBytes: 2 << 20, MaxInputBytes: 8 << 20,
		Socket: &netpoll.Options{SendBuffer: 16 << 10},
	})
	long := encode(text(strings.Repeat("x", 16<<10)))
	const clients = 20
	var waits []func()
	for range clients {
		c := dial(t, s.Addr())
		wait := flood(c, long, len(long))
		waits = append(waits, func() { c.reset(); wait() })
	}
	s.closed(reactor.Shed, clients)
	for _, wait := range waits {
		wait()
	}
}
