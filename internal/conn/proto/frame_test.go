package proto

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
)

// masked appends a client's frame, made by an independent encoder.
func masked(dst []byte, fin bool, rsv byte, op ws.OpCode, payload []byte) []byte {
	f := ws.NewFrame(op, fin, bytes.Clone(payload))
	f.Header.Rsv = rsv
	b, err := ws.CompileFrame(ws.MaskFrameInPlaceWith(f, [4]byte{0x37, 0xfa, 0x21, 0x3d}))
	if err != nil {
		panic(err)
	}
	return append(dst, b...)
}

func TestStateSize(t *testing.T) {
	if n := unsafe.Sizeof(State{}); n > 12 {
		t.Errorf("State is %d bytes", n)
	}
}

func TestNextOneMessage(t *testing.T) {
	var s State
	buf := masked(nil, true, 0, ws.OpText, []byte("hello"))
	ev, off, err := s.Next(buf, 0, Limits{1 << 16, 64})
	if err != nil || ev.Op != Text || string(ev.Payload) != "hello" || off != len(buf) {
		t.Fatalf("got %v %q at %d, %v", ev.Op, ev.Payload, off, err)
	}
}
