package proto

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/gobwas/ws"

	"pushd.example/internal/history"
)

// assemble reads the frames of one message and returns its payload and the
// number of frames. FrameEnd must find the end of each from any place in it.
func assemble(t *testing.T, b []byte) (first ws.Header, payload []byte, frames int) {
	t.Helper()
	at := 0
	for in := bytes.NewReader(b); in.Len() > 0; frames++ {
		h, err := ws.ReadHeader(in)
		if err != nil {
			t.Fatal(err)
		}
		part := make([]byte, h.Length)
		if _, err := io.ReadFull(in, part); err != nil {
			t.Fatal(err)
		}
		end := len(b) - in.Len()
		switch {
		case frames == 0:
			first = h
		case h.OpCode != ws.OpContinuation || h.Rsv != 0:
			t.Fatalf("frame %d is %+v, want a continuation", frames, h)
		}
		if h.Fin != (in.Len() == 0) {
			t.Fatalf("frame %d is final: %v, but %d bytes follow", frames, h.Fin, in.Len())
		}
		for _, inside := range []int{at + 1, (at + end) / 2, end - 1, end} {
			if got := FrameEnd(b, inside); got != end {
				t.Fatalf("FrameEnd(%d) is %d, want %d", inside, got, end)
			}
		}
		payload = append(payload, part...)
		at = end
	}
	return first, payload, frames
}

func TestFragments(t *testing.T) {
	for _, row := range []struct{ size, frames int }{
		{maxFrame, 1},
		{maxFrame + 1, maxFrame/fragmentSize + 1},
		{maxFrame + fragmentSize, maxFrame/fragmentSize + 1},
		{maxFrame + fragmentSize + 200, maxFrame/fragmentSize + 2},
		{16 << 20, 16 << 20 / fragmentSize},
	} {
		want := make([]byte, row.size)
		for i := range want {
			want[i] = byte(rand.Uint32())
		}
		first, got, frames := assemble(t, AppendFrame(nil, Binary, want))
		if !bytes.Equal(got, want) || frames != row.frames || first.OpCode != ws.OpBinary || first.Rsv != 0 {
			t.Errorf("%d bytes arrive as %d, in %d frames, want %d; the first is %+v", row.size, len(got), frames, row.frames, first)
		}
	}
}

// TestLongMessage sends the longest message that there is, as it is and
// compressed.
func TestLongMessage(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	for i := 0; i < len(data); i += 2 { // half of it is noise, so that fragments are left
		data[i] = 'a' + byte(rand.IntN(26))
	}
	m := history.Message{ID: 1 << 50, Kind: history.Broadcast, Data: append(append([]byte{'"'}, data...), '"')}
	b := AppendMessage([]byte("before"), m)[len("before"):]
	if len(b) > MessageSize(&m) {
		t.Errorf("the frames have %d bytes, MessageSize says %d", len(b), MessageSize(&m))
	}
	first, text, frames := assemble(t, b)
	if first.OpCode != ws.OpText || !bytes.HasPrefix(text, []byte(`{"type":"message"`)) ||
		!bytes.HasSuffix(text, append(m.Data, '}')) || frames != 257 {
		t.Fatalf("%d bytes of text arrive in %d frames, which begin %.40q", len(text), frames, text)
	}

	var z Deflater
	packed, ok := z.Deflate(b)
	if !ok {
		t.Fatal("the message was not compressed")
	}
	first, payload, frames := assemble(t, packed)
	if first.OpCode != ws.OpText || first.Rsv != rsv1 || frames < 2 {
		t.Fatalf("compressed, it comes in %d frames, the first of which is %+v", frames, first)
	}
	ev := Event{Op: Text, Deflated: true, Payload: payload}
	var inflater Inflater
	if err := inflater.Inflate(&ev, len(text)); err != nil || !bytes.Equal(ev.Payload, text) {
		t.Errorf("it inflates to %d bytes, %v; want %d", len(ev.Payload), err, len(text))
	}
}

// TestFrameEndOfResponse checks that nothing may come before the response to a
// handshake, and that the first frame begins behind it.
func TestFrameEndOfResponse(t *testing.T) {
	b := AppendUpgrade(nil, []byte("dGhlIHNhbXBsZSBub25jZQ=="), Subprotocol, Deflate{})
	response := len(b)
	b = AppendPong(b)
	for at, want := range map[int]int{0: response, 1: response, response: response, response + 1: len(b), len(b): len(b)} {
		if got := FrameEnd(b, at); got != want {
			t.Errorf("FrameEnd(%d) is %d, want %d", at, got, want)
		}
	}
}
