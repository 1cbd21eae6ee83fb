package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"unicode/utf8"
)

// Frames are written and read here without a line of the server's code, so
// that a mistake in it cannot hide behind its twin.

// RFC 6455, section 5.2.
const (
	opMore   = 0
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// frame is a frame as it is said or heard.
type frame struct {
	op      byte
	part    bool // not the last of its message
	rsv     byte // the three reserved bits, as a number
	payload string
}

func text(s string) frame { return frame{op: opText, payload: s} }
func blob(s string) frame { return frame{op: opBinary, payload: s} }
func ping(s string) frame { return frame{op: opPing, payload: s} }
func pong(s string) frame { return frame{op: opPong, payload: s} }

// bye is a Close frame. Code 0 stands for none.
func bye(code uint16, reason string) frame {
	if code == 0 {
		return frame{op: opClose}
	}
	return frame{op: opClose, payload: string(binary.BigEndian.AppendUint16(nil, code)) + reason}
}

// split makes a message of op in frames with these payloads.
func split(op byte, payloads ...string) []frame {
	var frames []frame
	for i, p := range payloads {
		frames = append(frames, frame{op: op, part: i < len(payloads)-1, payload: p})
		op = opMore
	}
	return frames
}

// cut cuts s into pieces of n bytes.
func cut(s string, n int) (pieces []string) {
	for len(s) > n {
		pieces = append(pieces, s[:n])
		s = s[n:]
	}
	return append(pieces, s)
}

// append appends the frame as a client sends it: masked.
func (f frame) append(dst []byte) []byte {
	dst = f.appendHeader(dst, len(f.payload))
	start, key := len(dst), dst[len(dst)-4:]
	dst = append(dst, f.payload...)
	for i := range dst[start:] {
		dst[start+i] ^= key[i&3]
	}
	return dst
}

// appendHeader appends the header of a masked frame that says it has so many
// bytes.
func (f frame) appendHeader(dst []byte, size int) []byte {
	first := f.op | f.rsv<<4
	if !f.part {
		first |= 0x80
	}
	switch {
	case size < 126:
		dst = append(dst, first, 0x80|byte(size))
	case size < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, 0x80|126), uint16(size))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, 0x80|127), uint64(size))
	}
	return binary.BigEndian.AppendUint32(dst, rand.Uint32())
}

func encode(frames ...frame) (b []byte) {
	for _, f := range frames {
		b = f.append(b)
	}
	return b
}

// A piece is what goes out in one write.
type pieces = iter.Seq[[]byte]

// whole sends all frames in one piece, and each sends every frame by itself.
func whole(frames ...frame) pieces { return func(yield func([]byte) bool) { yield(encode(frames...)) } }

func each(frames ...frame) pieces {
	return func(yield func([]byte) bool) {
		for _, f := range frames {
			if !yield(f.append(nil)) {
				return
			}
		}
	}
}

// chopped sends n bytes at a time, regardless of frames.
func chopped(n int, frames ...frame) pieces {
	return func(yield func([]byte) bool) { slices.Chunk(encode(frames...), n)(yield) }
}

func octets(frames ...frame) pieces { return chopped(1, frames...) }

// readFrame reads a frame of the server's and checks all that RFC 6455 asks of
// one frame by itself.
func readFrame(r *bufio.Reader) (frame, error) {
	f, err := readMarked(r)
	if err == nil && f.rsv != 0 {
		err = fmt.Errorf("reserved bits: %+v", f)
	}
	return f, err
}

// readMarked reads a frame that may have reserved bits.
func readMarked(r *bufio.Reader) (frame, error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return frame{}, err
	}
	f := frame{op: b[0] & 0x0F, part: b[0]&0x80 == 0, rsv: b[0] >> 4 & 7}
	masked, size, least := b[1]&0x80 != 0, uint64(b[1]&0x7F), uint64(0)
	switch size {
	case 126:
		if _, err := io.ReadFull(r, b[:2]); err != nil {
			return f, mid(err)
		}
		size, least = uint64(binary.BigEndian.Uint16(b[:])), 126
	case 127:
		if _, err := io.ReadFull(r, b[:8]); err != nil {
			return f, mid(err)
		}
		size, least = binary.BigEndian.Uint64(b[:]), 1<<16
	}
	control := f.op >= opClose
	switch {
	case masked:
		return f, fmt.Errorf("a masked frame: %+v", f)
	case f.op > opPong || f.op > opBinary && f.op < opClose:
		return f, fmt.Errorf("a reserved opcode: %+v", f)
	case size < least || size > 1<<31:
		return f, fmt.Errorf("length %d, not in its shortest form or absurd", size)
	case control && (f.part || size > 125):
		return f, fmt.Errorf("a control frame in parts or of %d bytes", size)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return f, mid(err)
	}
	f.payload = string(payload)
	if f.op == opClose && (size == 1 || size > 2 && !utf8.Valid(payload[2:])) {
		return f, fmt.Errorf("malformed Close payload %q", payload)
	}
	return f, nil
}

// mid makes an end in the middle of a frame an error like others.
func mid(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// code returns a Close frame's code, 0 for none.
func (f frame) code() uint16 {
	if len(f.payload) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16([]byte(f.payload))
}

// String is short however long the payload is.
func (f frame) String() string {
	return fmt.Sprintf("{op %d, part %v, %d bytes %.40q}", f.op, f.part, len(f.payload), f.payload)
}
