//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// maxFrame bounds what a server can make this process hold for a connection.
const maxFrame = 16 << 20

var (
	errMasked   = errors.New("protocol error: the server masks its frames")
	errReserved = errors.New("protocol error: reserved bits set in a frame's header")
)

// frame is one WebSocket frame; payload lies in the bytes that it was decoded
// from.
type frame struct {
	fin      bool
	deflated bool // begins a compressed message
	op       byte
	payload  []byte
}

// decodeFrame reads the frame that b begins with and says how many bytes it
// takes; 0 means that b does not hold all of it yet.
func decodeFrame(b []byte) (f frame, size int, err error) {
	if len(b) < 2 {
		return frame{}, 0, nil
	}
	if b[0]&0x30 != 0 {
		return frame{}, 0, errReserved
	}
	if b[1]&0x80 != 0 {
		return frame{}, 0, errMasked
	}
	head, length := 2, uint64(b[1])
	switch length {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	if len(b) < head {
		return frame{}, 0, nil
	}
	switch head {
	case 4:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		length = binary.BigEndian.Uint64(b[2:])
	}
	if length > maxFrame {
		return frame{}, 0, fmt.Errorf("a frame of %d bytes: pushbench takes at most %d", length, maxFrame)
	}
	size = head + int(length)
	if len(b) < size {
		return frame{}, 0, nil
	}
	return frame{fin: b[0]&0x80 != 0, deflated: b[0]&0x40 != 0, op: b[0] & 0x0f, payload: b[head:size]}, size, nil
}

// appendClientFrame appends a whole masked frame. The mask is zero: masking
// protects proxies from browsers' scripts, of which there are none here.
func appendClientFrame(dst []byte, op byte, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, payload...)
}

// assembler puts a connection's bytes together again: frames that reads cut
// anywhere, and messages that the server cut into fragments.
type assembler struct {
	rest     []byte // the beginning of a frame
	message  []byte // the fragments so far of a message
	open     bool   // within a fragmented message
	deflated bool   // which is compressed
}

// feed takes what was read and calls message for every complete text or binary
// message, which may be compressed, and control for every control frame. Their
// arguments are valid during the call only.
func (a *assembler) feed(b []byte, message func(m []byte, deflated bool) error, control func(op byte, payload []byte)) error {
	if len(a.rest) > 0 {
		a.rest = append(a.rest, b...)
		b = a.rest
	}
	for {
		f, size, err := decodeFrame(b)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		b = b[size:]
		if err := a.frame(f, message, control); err != nil {
			return err
		}
	}
	if len(b) == 0 {
		a.rest = nil // most connections are idle: keep nothing for them
		return nil
	}
	a.rest = append(a.rest[:0], b...)
	return nil
}

func (a *assembler) frame(f frame, message func([]byte, bool) error, control func(byte, []byte)) error {
	switch {
	case f.deflated && (f.op >= opClose || f.op == opContinuation):
		return errReserved
	case f.op >= opClose:
		control(f.op, f.payload)
		return nil
	case (f.op == opContinuation) != a.open:
		return errors.New("protocol error: a message begins inside of another, or goes on without one")
	case f.fin && !a.open:
		return message(f.payload, f.deflated)
	case len(a.message)+len(f.payload) > maxFrame:
		return fmt.Errorf("a message of more than %d bytes: pushbench takes no larger ones", maxFrame)
	}
	if !a.open {
		a.deflated = f.deflated
	}
	a.message, a.open = append(a.message, f.payload...), !f.fin
	if !f.fin {
		return nil
	}
	whole := a.message
	a.message = nil
	return message(whole, a.deflated)
}
