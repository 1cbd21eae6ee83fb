package proto

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"pushd.example/internal/history"
)

var (
	ackText   = []byte(`{"type":"ack","cursor":"` + someCursorText + `"}`)
	pingText  = []byte(`{"type":"ping"}`)
	broadcast = history.Message{ID: christmas, Kind: history.Broadcast, Data: []byte(`{"title":"Hi","body":"` + strings.Repeat("b", 100) + `"}`)}
)

// TestAllocations: nothing is allocated on the way of a frame, nor by a
// handshake.
func TestAllocations(t *testing.T) {
	dst := make([]byte, 0, 4096)
	frames := wire(t, text("hello"), textMore("frag"), ping("p"), last("ments"), binaryMsg(strings.Repeat("b", 1000)))
	buf := make([]byte, len(frames))
	escaped := []byte(strings.Replace(browser, "token=", "user=%C3%A4&token=", 1))
	var r Request
	var m ClientMessage
	for name, f := range map[string]func(){
		"Next": func() {
			var s State
			if n := nextAll(&s, buf[:copy(buf, frames)]); n != 4 {
				t.Fatalf("%d events", n)
			}
		},
		"Next, a frame in two pieces": func() {
			var s State
			half := copy(buf[:500], frames[len(frames)-1008:])
			if _, _, err := s.Next(buf[:half], 0, testLimits); err != nil {
				t.Fatal(err)
			}
			copy(buf[half:1008], frames[len(frames)-1008+half:])
			if ev, _, _ := s.Next(buf[:1008], 0, testLimits); ev.Op != Binary {
				t.Fatal(ev)
			}
		},
		"ParseClient of an ack":  func() { ParseClient(ackText, &m) },
		"ParseClient of a ping":  func() { ParseClient(pingText, &m) },
		"HeadEnd":                func() { HeadEnd(escaped, 0) },
		"Request.Parse":          func() { mustParse(t, &r, escaped) },
		"Request.Parse, refused": func() { r.Parse(pingText, testPath) },
		"AppendUpgrade":          func() { AppendUpgrade(dst, r.Key, r.Subprotocol, r.Deflate) },
		"AppendHTTPError":        func() { AppendHTTPError(dst, ErrBusy, 3) },
		"AppendMessage":          func() { AppendMessage(dst, broadcast) },
		"AppendPong":             func() { AppendPong(dst) },
		"AppendPongFrame":        func() { AppendPongFrame(dst, pingText) },
		"AppendError":            func() { AppendError(dst, codeBadJSON, "why") },
		"AppendCloseFrame":       func() { AppendCloseFrame(dst, CloseTooSlow, "too slow") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// nextAll counts the events in buf.
func nextAll(s *State, buf []byte) (n int) {
	off := 0
	for {
		ev, next, err := s.Next(buf, off, testLimits)
		if err != nil || ev.Op == None {
			return n
		}
		off = next
		n++
	}
}

func mustParse(t testing.TB, r *Request, head []byte) {
	if err := r.Parse(head, testPath); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkHandshake is the choice between a parser of our own and
// ws.Upgrader, which reads the same head from memory and writes to nowhere.
func BenchmarkHandshake(b *testing.B) {
	head := []byte(browser)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		dst := make([]byte, 0, 512)
		var r Request
		for b.Loop() {
			mustParse(b, &r, head[:HeadEnd(head, 0)])
			dst = AppendUpgrade(dst[:0], r.Key, r.Subprotocol, r.Deflate)
		}
	})
	b.Run("gobwas", func(b *testing.B) {
		b.ReportAllocs()
		var token []byte
		u := ws.Upgrader{
			Protocol:  func(p []byte) bool { return string(p) == Subprotocol },
			OnRequest: func(uri []byte) error { token = append(token[:0], uri...); return nil },
			OnHeader:  func(_, _ []byte) error { return nil },
		}
		rd := bytes.NewReader(nil)
		conn := &upgradeConn{rd, io.Discard}
		for b.Loop() {
			rd.Reset(head[:HeadEnd(head, 0)])
			if _, err := u.Upgrade(conn); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	head := []byte(browser)
	b.ReportAllocs()
	var r Request
	for b.Loop() {
		mustParse(b, &r, head)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, c := range []struct {
		name   string
		frames []byte
	}{
		{"pong", wire(b, pong(""))},
		{"ack", wire(b, text(string(ackText)))},
		{"64KiB", wire(b, text(strings.Repeat("x", 64<<10)))},
		{"64KiB greek", wire(b, text(strings.Repeat("κόσμε", 6500)))},
		{"fragments", wire(b, textMore(string(ackText[:9])), last(string(ackText[9:])))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.frames)))
			buf := make([]byte, len(c.frames))
			for b.Loop() {
				copy(buf, c.frames)
				var s State
				if nextAll(&s, buf) != 1 {
					b.Fatal("no event")
				}
			}
		})
	}
}

func BenchmarkParseClient(b *testing.B) {
	escaped := bytes.Replace(ackText, []byte("type"), []byte(`\u0074ype`), 1)
	for name, payload := range map[string][]byte{"ack": ackText, "ping": pingText, "escaped": escaped} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var m ClientMessage
			for b.Loop() {
				if err := ParseClient(payload, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	b.ReportAllocs()
	dst := make([]byte, 0, 1024)
	for b.Loop() {
		dst = AppendMessage(dst[:0], broadcast)
	}
}
