package proto

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
)

// The numbers before the colon are the Autobahn test suite's cases.

var testLimits = Limits{MaxMessage: 64 << 10, MaxFragments: 64}

// frame is one frame of a client.
type frame struct {
	op      ws.OpCode
	more    bool // not the last fragment
	rsv     byte
	bare    bool // unmasked
	payload string
}

// wire returns the frames as gobwas/ws, an encoder that is not ours, writes
// them.
func wire(t testing.TB, frames ...frame) []byte {
	t.Helper()
	var out []byte
	for i, f := range frames {
		w := ws.NewFrame(f.op, !f.more, []byte(f.payload))
		w.Header.Rsv = f.rsv
		if !f.bare {
			w = ws.MaskFrameInPlaceWith(w, [4]byte{byte(i), 0xfa, 0x21, 0x3d})
		}
		b, err := ws.CompileFrame(w)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

func text(s string) frame      { return frame{op: ws.OpText, payload: s} }
func textMore(s string) frame  { return frame{op: ws.OpText, payload: s, more: true} }
func binaryMsg(s string) frame { return frame{op: ws.OpBinary, payload: s} }
func more(s string) frame      { return frame{op: ws.OpContinuation, payload: s, more: true} }
func last(s string) frame      { return frame{op: ws.OpContinuation, payload: s} }
func ping(s string) frame      { return frame{op: ws.OpPing, payload: s} }
func pong(s string) frame      { return frame{op: ws.OpPong, payload: s} }
func closing(code uint16, reason string) frame {
	return frame{op: ws.OpClose, payload: string(binary.BigEndian.AppendUint16(nil, code)) + reason}
}

// receiver is the caller that State.Next is written for, in its smallest form.
type receiver struct {
	state State
	lim   Limits
	buf   []byte
	log   []string
	held  int // the most bytes kept between two reads
}

// read takes one piece of input and reports whether the connection goes on.
func (r *receiver) read(piece []byte) bool {
	r.buf = append(r.buf, piece...)
	off := r.state.Assembled()
	for {
		ev, next, err := r.state.Next(r.buf, off, r.lim)
		if err != nil {
			r.log = append(r.log, fmt.Sprintf("%d %s", err.Code, err.Metric))
			return false
		}
		if off = next; ev.Op == None {
			break
		}
		r.log = append(r.log, describe(ev))
	}
	assembled, raw := r.state.Keep(r.buf, off)
	r.buf = append(append(r.buf[:0], assembled...), raw...)
	r.held = max(r.held, len(r.buf))
	return true
}

func describe(ev Event) string {
	if ev.Deflated {
		ev.Deflated = false
		return "deflated " + describe(ev)
	}
	switch ev.Op {
	case Text:
		return fmt.Sprintf("text %q", ev.Payload)
	case Binary:
		return fmt.Sprintf("binary %q", ev.Payload)
	case Ping:
		return fmt.Sprintf("ping %q", ev.Payload)
	case Pong:
		return fmt.Sprintf("pong %q", ev.Payload)
	case Close:
		return fmt.Sprintf("close %d %q", ev.Code, ev.Payload)
	}
	return fmt.Sprintf("op %d", ev.Op)
}

// events returns what the input means when it comes in pieces of n bytes.
func events(input []byte, n int, lim Limits) []string {
	r := receiver{lim: lim}
	for len(input) > 0 {
		piece := input[:min(n, len(input))]
		input = input[len(piece):]
		if !r.read(piece) {
			break
		}
	}
	return r.log
}

func TestFrames(t *testing.T) {
	x125 := strings.Repeat("x", 125)
	euro := "κόσμε"
	cases := []struct {
		name   string
		frames []frame
		want   []string
	}{
		{"2.1: empty ping", []frame{ping("")}, []string{`ping ""`}},
		{"2.2: ping with a payload", []frame{ping("Hello")}, []string{`ping "Hello"`}},
		{"2.3: ping with a binary payload", []frame{ping("\x00\xff\xfe")}, []string{`ping "\x00\xff\xfe"`}},
		{"2.4: ping of 125 bytes", []frame{ping(x125)}, []string{`ping "` + x125 + `"`}},
		{"2.5: ping of 126 bytes", []frame{ping(x125 + "x")}, []string{"1002 control"}},
		{"2.7: pong nobody asked for", []frame{pong("")}, []string{`pong ""`}},
		{"2.8: pong with a payload", []frame{pong("late")}, []string{`pong "late"`}},
		{"2.9: pong, then ping", []frame{pong("a"), ping("b")}, []string{`pong "a"`, `ping "b"`}},
		{"2.10: pings in a row", []frame{ping("1"), ping("2"), ping("3")}, []string{`ping "1"`, `ping "2"`, `ping "3"`}},

		{"3.1: RSV 3", []frame{{op: ws.OpText, rsv: 1, payload: "a"}}, []string{"1002 rsv"}},
		{"3.2: RSV 2 after a good message", []frame{text("ok"), {op: ws.OpText, rsv: 2}}, []string{`text "ok"`, "1002 rsv"}},
		{"3.4: RSV 1", []frame{{op: ws.OpText, rsv: 4}}, []string{"1002 rsv"}},
		{"3.5: RSV on binary", []frame{{op: ws.OpBinary, rsv: 5}}, []string{"1002 rsv"}},
		{"3.6: RSV on a ping", []frame{{op: ws.OpPing, rsv: 6}}, []string{"1002 rsv"}},
		{"3.7: RSV on a close", []frame{{op: ws.OpClose, rsv: 7}}, []string{"1002 rsv"}},

		{"4.1.1: opcode 3", []frame{{op: 3}}, []string{"1002 opcode"}},
		{"4.1.2: opcode 4 with a payload", []frame{{op: 4, payload: "reserved"}}, []string{"1002 opcode"}},
		{"4.1.3: opcode 5 after a message", []frame{text("ok"), {op: 5}, ping("")}, []string{`text "ok"`, "1002 opcode"}},
		{"4.1.4: opcode 6", []frame{{op: 6}}, []string{"1002 opcode"}},
		{"4.1.5: opcode 7", []frame{{op: 7}}, []string{"1002 opcode"}},
		{"4.2.1: opcode 11", []frame{{op: 11}}, []string{"1002 opcode"}},
		{"4.2.2: opcode 12", []frame{{op: 12, payload: "reserved"}}, []string{"1002 opcode"}},
		{"4.2.3: opcode 13 after a message", []frame{text("ok"), {op: 13}}, []string{`text "ok"`, "1002 opcode"}},
		{"4.2.4: opcode 14", []frame{{op: 14}}, []string{"1002 opcode"}},
		{"4.2.5: opcode 15", []frame{{op: 15}}, []string{"1002 opcode"}},

		{"5.1: ping in fragments", []frame{{op: ws.OpPing, more: true, payload: "a"}, last("b")}, []string{"1002 control"}},
		{"5.2: pong in fragments", []frame{{op: ws.OpPong, more: true, payload: "a"}, last("b")}, []string{"1002 control"}},
		{"5.3: text in two fragments", []frame{textMore("ab"), last("cd")}, []string{`text "abcd"`}},
		{"5.6: ping between fragments", []frame{textMore("ab"), ping("p"), last("cd")}, []string{`ping "p"`, `text "abcd"`}},
		{"5.9: continuation of nothing", []frame{last("a"), text("b")}, []string{"1002 continuation"}},
		{"5.12: first of a continuation of nothing", []frame{more("a"), text("b")}, []string{"1002 continuation"}},
		{"5.15: continuation after the end", []frame{textMore("a"), last("b"), more("c"), text("d")}, []string{`text "ab"`, "1002 continuation"}},
		{"5.18: message within a message", []frame{textMore("a"), text("b")}, []string{"1002 continuation"}},
		{"5.19: pings between many fragments", []frame{textMore("1"), more("2"), ping("x"), more("3"), more("4"), ping("y"), last("5")},
			[]string{`ping "x"`, `ping "y"`, `text "12345"`}},
		{"6.1.2: only empty fragments", []frame{textMore(""), more(""), last("")}, []string{`text ""`}},
		{"6.1.3: empty fragments around", []frame{textMore(""), more("a"), last("")}, []string{`text "a"`}},
		{"binary in fragments", []frame{{op: ws.OpBinary, more: true, payload: "\xff"}, last("\xfe")}, []string{`binary "\xff\xfe"`}},
		{"a message between two in fragments", []frame{textMore("a"), last("b"), text("c"), textMore("d"), last("e")},
			[]string{`text "ab"`, `text "c"`, `text "de"`}},

		{"6.2.1: text of several alphabets", []frame{text(euro)}, []string{fmt.Sprintf("text %q", euro)}},
		{"6.2.4: a character in two fragments", []frame{textMore(euro[:1]), last(euro[1:])}, []string{fmt.Sprintf("text %q", euro)}},
		{"6.4.1: fails on the first fragment that cannot go on", []frame{textMore(euro), more("\xf4\x90\x80\x80"), last("edited")}, []string{"1007 utf8"}},
		{"text that ends within a character", []frame{text("a\xce")}, []string{"1007 utf8"}},
		{"text whose last fragment ends within a character", []frame{textMore("a"), last("\xce")}, []string{"1007 utf8"}},
		{"an empty last fragment within a character", []frame{textMore("\xce"), last("")}, []string{"1007 utf8"}},
		{"a ping within a character", []frame{textMore("\xce"), ping("\xff"), last("\xba")}, []string{`ping "\xff"`, `text "κ"`}},

		{"7.1.1: message, then close", []frame{text("a"), closing(1000, "")}, []string{`text "a"`, `close 1000 ""`}},
		{"7.1.2: two closes", []frame{closing(1000, ""), closing(1001, "")}, []string{`close 1000 ""`}},
		{"7.1.3: ping after close", []frame{closing(1000, ""), ping("a")}, []string{`close 1000 ""`}},
		{"7.1.4: text after close", []frame{closing(1000, ""), text("a")}, []string{`close 1000 ""`}},
		{"7.1.5: close within a message", []frame{textMore("a"), closing(1000, ""), last("b")}, []string{`close 1000 ""`}},
		{"7.3.1: close without a code", []frame{{op: ws.OpClose}}, []string{`close 1005 ""`}},
		{"7.3.2: close of one byte", []frame{{op: ws.OpClose, payload: "a"}}, []string{"1002 close_code"}},
		{"7.3.3: close with a code", []frame{closing(1000, "")}, []string{`close 1000 ""`}},
		{"7.3.4: close with a reason", []frame{closing(1000, "bye")}, []string{`close 1000 "bye"`}},
		{"7.3.5: reason of 123 bytes", []frame{closing(1000, x125[:123])}, []string{`close 1000 "` + x125[:123] + `"`}},
		{"7.3.6: reason of 124 bytes", []frame{closing(1000, x125[:124])}, []string{"1002 control"}},
		{"7.5.1: reason not UTF-8", []frame{closing(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80")}, []string{"1007 utf8"}},
		{"close in fragments", []frame{{op: ws.OpClose, more: true}}, []string{"1002 control"}},

		{"unmasked text", []frame{{op: ws.OpText, bare: true, payload: "a"}}, []string{"1002 unmasked"}},
		{"unmasked, empty", []frame{{op: ws.OpText, bare: true}}, []string{"1002 unmasked"}},
		{"unmasked close", []frame{{op: ws.OpClose, bare: true}}, []string{"1002 unmasked"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			input := wire(t, c.frames...)
			for n := 1; n <= len(input); n++ {
				if got := events(input, n, testLimits); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
					t.Fatalf("in pieces of %d: got %q, want %q", n, got, c.want)
				}
			}
		})
	}
}

// TestLengths covers 1.1.1 to 1.2.8 and the limit on either side.
func TestLengths(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 128, 65535, 65536} {
		for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
			payload := strings.Repeat("*", size)
			input := wire(t, frame{op: op, payload: payload}, ping("after"))
			for _, piece := range []int{997, 4096, len(input)} {
				got := events(input, piece, testLimits)
				want := describe(Event{Op: Op(op), Payload: []byte(payload)})
				if len(got) != 2 || got[0] != want || got[1] != `ping "after"` {
					t.Fatalf("opcode %d, %d bytes in pieces of %d: %d events", op, size, piece, len(got))
				}
			}
		}
	}
}

// TestLengthForms: RFC 6455, section 5.2, wants the shortest form of a length
// and the top bit of the longest one clear.
func TestLengthForms(t *testing.T) {
	long := func(n uint64) []byte {
		b := binary.BigEndian.AppendUint64([]byte{0x82, 0x80 | 127}, n)
		return append(b, 1, 2, 3, 4)
	}
	cases := []struct {
		name  string
		input []byte
		want  string
	}{
		{"125 in 16 bits", []byte{0x82, 0x80 | 126, 0, 125, 1, 2, 3, 4}, "1002 length"},
		{"0 in 64 bits", long(0), "1002 length"},
		{"65,535 in 64 bits", long(65535), "1002 length"},
		{"top bit", long(1 << 63), "1002 length"},
		{"the greatest length", long(1<<63 - 1), "1009 too_big"},
		{"a ping with a long length", append([]byte{0x89, 0x80 | 126, 1, 0}, 1, 2, 3, 4), "1002 control"},
	}
	for _, c := range cases {
		for n := 1; n <= len(c.input); n++ {
			if got := events(c.input, n, testLimits); len(got) != 1 || got[0] != c.want {
				t.Errorf("%s: in pieces of %d: got %q, want %q", c.name, n, got, c.want)
			}
		}
	}
}

// TestLimits: the header alone is enough to refuse a message.
func TestLimits(t *testing.T) {
	lim := Limits{MaxMessage: 300, MaxFragments: 3}
	half := strings.Repeat("a", 150)
	header := func(f frame) []byte {
		b := wire(t, f)
		return b[:len(b)-len(f.payload)]
	}
	cases := []struct {
		name  string
		input []byte
		want  string
	}{
		{"a message of 300", wire(t, text(half+half)), `text "` + half + half + `"`},
		{"the header of 301", header(text(half + half + "b")), "1009 too_big"},
		{"fragments of 300", wire(t, textMore(half), last(half)), `text "` + half + half + `"`},
		{"a second fragment's header makes 301", append(wire(t, textMore(half)), header(last(half+"b"))...), "1009 too_big"},
		{"three fragments", wire(t, textMore("1"), more("2"), last("3")), `text "123"`},
		{"four fragments", wire(t, textMore("1"), more("2"), more("3"), last("4")), "1009 fragments"},
		{"four empty fragments", wire(t, textMore(""), more(""), more(""), more("")), "1009 fragments"},
		{"control frames do not count", wire(t, textMore("1"), pong(""), more("2"), pong(""), pong(""), last("3")), `text "123"`},
	}
	for _, c := range cases {
		got := events(c.input, len(c.input), lim)
		if len(got) == 0 || got[len(got)-1] != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestTextFailsEarly covers 6.4.3 and 6.4.4: a frame need not be complete to be
// refused.
func TestTextFailsEarly(t *testing.T) {
	input := wire(t, text("κόσμε\xf4\x90\x80\x80 and more"))
	bad := len(input) - len("\x80\x80 and more")
	r := receiver{lim: testLimits}
	for i := range bad {
		if ok := r.read(input[i : i+1]); ok != (i < bad-1) {
			t.Fatalf("after %d bytes of %d: %v, %q", i+1, bad, ok, r.log)
		}
	}
	if len(r.log) != 1 || r.log[0] != "1007 utf8" {
		t.Errorf("got %q", r.log)
	}
}

// TestFragmentCounterSaturates: beyond the counter there is no bound.
func TestFragmentCounterSaturates(t *testing.T) {
	r := receiver{lim: Limits{MaxMessage: 1 << 20, MaxFragments: 1 << 20}}
	input := wire(t, textMore("a"))
	fragment := wire(t, more("b"))
	for range 70_000 {
		input = append(input, fragment...)
	}
	if !r.read(append(input, wire(t, last("c"))...)) || len(r.log) != 1 || len(r.log[0]) != len(`text ""`)+70_002 {
		t.Fatalf("got %d events, state %+v", len(r.log), r.state)
	}
}

// TestPayloadsAreViews: a whole message is not copied, whatever came before.
func TestPayloadsAreViews(t *testing.T) {
	buf := wire(t, text("first"), text("second"))
	var s State
	_, off, _ := s.Next(buf, 0, testLimits)
	ev, off, err := s.Next(buf, off, testLimits)
	if err != nil || off != len(buf) || unsafe.SliceData(ev.Payload) != &buf[len(buf)-6] {
		t.Fatalf("got %q at %d, %v", ev.Payload, off, err)
	}
}

// TestAfterTheEnd: after a Close or an error all input is swallowed.
func TestAfterTheEnd(t *testing.T) {
	for _, f := range []frame{closing(1000, ""), {op: 3}} {
		var s State
		buf := wire(t, f, text("a"))
		_, off, _ := s.Next(buf, 0, testLimits)
		ev, off, err := s.Next(buf, off, testLimits)
		if ev.Op != None || off != len(buf) || err != nil {
			t.Errorf("got %v at %d of %d, %v", ev, off, len(buf), err)
		}
		if a, raw := s.Keep(buf, off); len(a)+len(raw) != 0 {
			t.Errorf("%d bytes are kept", len(a)+len(raw))
		}
	}
}

// mostHeld is what Next promises: a message and a control frame that lacks its
// last byte.
func mostHeld(lim Limits) int {
	return int(lim.wire(lim.Deflate)) + ws.MinHeaderSize + 4 + ws.MaxControlFramePayloadSize - 1
}

// TestHeldBytes: however a message comes, no more is kept than is promised.
func TestHeldBytes(t *testing.T) {
	lim := Limits{MaxMessage: 1000, MaxFragments: 64}
	body := strings.Repeat("z", 500)
	for _, input := range [][]byte{
		wire(t, text(body+body)),
		wire(t, textMore(body), ping(""), more(""), last(body)),
		wire(t, textMore(body), more(body), ping(body[:125]), last("")),
	} {
		r := receiver{lim: lim}
		for i := range input {
			if !r.read(input[i : i+1]) {
				t.Fatal(r.log)
			}
		}
		if r.held > mostHeld(lim) {
			t.Errorf("%d bytes were held, at most %d are promised", r.held, mostHeld(lim))
		}
		if len(r.buf) != 0 {
			t.Errorf("%d bytes are left over", len(r.buf))
		}
	}
}

func TestStateIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(State{}); n != 16 {
		t.Errorf("a State is %d bytes", n)
	}
}

// TestMaskPosition: a payload that comes in pieces is unmasked with the key in
// step, for every size of first piece.
func TestMaskPosition(t *testing.T) {
	payload := strings.Repeat("0123456789", 10)
	input := wire(t, binaryMsg(payload))
	for cut := range input {
		r := receiver{lim: testLimits}
		r.read(input[:cut])
		r.read(input[cut:])
		if len(r.log) != 1 || r.log[0] != fmt.Sprintf("binary %q", payload) {
			t.Fatalf("cut at %d: got %q", cut, r.log)
		}
	}
}
