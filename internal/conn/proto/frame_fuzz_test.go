package proto

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

var (
	fuzzLimits        = Limits{MaxMessage: 256, MaxFragments: 4}
	fuzzDeflateLimits = Limits{MaxMessage: 256, MaxFragments: 4, Deflate: true}
)

// FuzzNext: any split of any input gives the same events, namely those of a
// decoder that is not ours, and no more is held than came in or than the
// limits allow.
func FuzzNext(f *testing.F) {
	f.Add(wire(f, text("hello"), textMore("κ"), ping("p"), last("όσμε"), closing(1000, "bye")), uint16(3))
	f.Add(wire(f, textMore("\xf4"), last("\x90\x80\x80")), uint16(1))
	f.Add(wire(f, binaryMsg(strings.Repeat("b", 300)), frame{op: ws.OpText, bare: true}), uint16(7))
	f.Add([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, uint16(5))
	f.Fuzz(checkSplits)
}

// FuzzFrames is FuzzNext on inputs that are made of whole frames: each byte of
// the script says what frame comes next and how much of the script is in it.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x20κ\x07\x18ab\x02"), uint16(2))
	f.Add([]byte("\x21\xf4\x90\x22\x80\x80\x03"), uint16(1))
	f.Fuzz(func(t *testing.T, script []byte, split uint16) {
		kinds := []frame{
			{op: ws.OpText}, {op: ws.OpText, more: true}, {op: ws.OpContinuation}, {op: ws.OpContinuation, more: true},
			{op: ws.OpBinary}, {op: ws.OpBinary, more: true}, {op: ws.OpPing}, {op: ws.OpPong}, {op: ws.OpClose},
			{op: 3}, {op: ws.OpText, rsv: 4}, {op: ws.OpPing, more: true}, {op: ws.OpText, bare: true},
			{op: ws.OpText, rsv: 4, more: true}, {op: ws.OpContinuation, rsv: 4}, {op: ws.OpBinary, rsv: 4 + 1},
		}
		var frames []frame
		for len(script) > 0 {
			fr, size := kinds[int(script[0]&15)%len(kinds)], int(script[0]>>4)*9
			script = script[1:]
			size = min(size, len(script))
			fr.payload, script = string(script[:size]), script[size:]
			frames = append(frames, fr)
		}
		checkSplits(t, wire(t, frames...), split)
	})
}

func checkSplits(t *testing.T, input []byte, split uint16) {
	checkSplitsWithin(t, input, split, fuzzLimits)
	checkSplitsWithin(t, input, split, fuzzDeflateLimits)
}

func checkSplitsWithin(t *testing.T, input []byte, split uint16, lim Limits) {
	size := int(split)%64 + 1
	want := strings.Join(eventsByPeer(input, lim), "\n")
	for _, n := range []int{max(1, len(input)), size, 1} {
		if got := strings.Join(events(input, n, lim), "\n"); got != want {
			t.Fatalf("in pieces of %d:\ngot  %q\nwant %q", n, got, want)
		}
	}
	cut := int(split) % (len(input) + 1)
	r := receiver{lim: lim}
	if r.read(input[:cut]) {
		r.read(input[cut:])
	}
	if got := strings.Join(r.log, "\n"); got != want {
		t.Fatalf("cut at %d:\ngot  %q\nwant %q", cut, got, want)
	}
	if r.held > len(input) || r.held > mostHeld(lim) {
		t.Fatalf("%d bytes are held of %d", r.held, len(input))
	}
}

// eventsByPeer decodes with ws.ReadHeader and copies, the plain way.
func eventsByPeer(input []byte, lim Limits) (log []string) {
	rd := bytes.NewReader(input)
	var message []byte
	var op ws.OpCode  // of the message in progress
	deflated := false // and whether it is compressed
	fragments := 0
	for {
		before := rd.Len()
		h, err := ws.ReadHeader(rd)
		if err == ws.ErrHeaderLengthMSB || err == nil && !shortest(h, before-rd.Len()) {
			return append(log, "1002 length")
		}
		if err != nil {
			return log
		}
		state := ws.StateServerSide
		if op != 0 {
			state |= ws.StateFragmented
		}
		if lim.Deflate && h.Rsv1() && !h.Rsv2() && !h.Rsv3() && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary) {
			deflated, h.Rsv = true, 0
		}
		if err := ws.CheckHeader(h, state); err != nil {
			return append(log, "1002 "+headerError(err).Metric)
		}
		if h.OpCode.IsData() {
			fragments++
			if h.Length > lim.wire(deflated)-int64(len(message)) {
				return append(log, "1009 too_big")
			}
			if fragments > lim.MaxFragments {
				return append(log, "1009 fragments")
			}
		}
		payload := make([]byte, min(int64(rd.Len()), h.Length))
		rd.Read(payload)
		for i := range payload {
			payload[i] ^= h.Mask[i%4]
		}
		whole := int64(len(payload)) == h.Length
		if h.OpCode.IsControl() {
			if !whole {
				return log
			}
			if h.OpCode == ws.OpClose {
				return append(log, closeByPeer(payload))
			}
			log = append(log, describe(Event{Op: Op(h.OpCode), Payload: payload}))
			continue
		}
		if op == 0 {
			op = h.OpCode
		}
		message = append(message, payload...)
		if op == ws.OpText && !deflated && (!canBecomeText(message) || whole && h.Fin && !canBecomeText(append(message, 'x'))) {
			return append(log, "1007 utf8")
		}
		if !whole {
			return log
		}
		if h.Fin {
			log = append(log, describe(Event{Op: Op(op), Payload: message, Deflated: deflated}))
			message, op, deflated, fragments = nil, 0, false, 0
		}
	}
}

// shortest reports whether a header of size bytes is the shortest for its
// length.
func shortest(h ws.Header, size int) bool {
	return size == ws.HeaderSize(h)
}

func closeByPeer(payload []byte) string {
	if len(payload) == 0 {
		return `close 1005 ""`
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if len(payload) == 1 || !validCloseCode(uint16(code)) {
		return "1002 close_code"
	}
	if ws.CheckCloseFrameData(1000, reason) != nil {
		return "1007 utf8"
	}
	return fmt.Sprintf("close %d %q", code, reason)
}
