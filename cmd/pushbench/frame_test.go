//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func serverFrame(fin bool, op byte, payload string) []byte {
	b := []byte{op}
	if fin {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// events feeds parts to an assembler and returns what it saw.
func events(parts ...[]byte) (seen []string, err error) {
	var a assembler
	for _, p := range parts {
		// A fresh copy shows whether anything is kept that lies in the read
		// buffer.
		buf := bytes.Clone(p)
		err = a.feed(buf,
			func(m []byte, deflated bool) error {
				if deflated {
					seen = append(seen, "deflated")
				}
				seen = append(seen, "message "+string(m))
				return nil
			},
			func(op byte, m []byte) { seen = append(seen, fmt.Sprintf("control %x %s", op, m)) })
		clear(buf)
		if err != nil {
			return seen, err
		}
	}
	return seen, nil
}

// session has every kind of frame and every encoding of the length.
func session() (stream []byte, want []string) {
	long, huge := strings.Repeat("l", 126), strings.Repeat("h", 1<<16)
	stream = serverFrame(true, opText, "one")
	stream = append(stream, serverFrame(true, opPing, "p")...)
	stream = append(stream, serverFrame(true, opText, "")...)
	stream = append(stream, serverFrame(false, opText, "fir")...)
	stream = append(stream, serverFrame(true, opPong, "")...)
	stream = append(stream, serverFrame(false, opContinuation, "s")...)
	stream = append(stream, serverFrame(true, opContinuation, "t")...)
	stream = append(stream, serverFrame(true, opBinary, long)...)
	stream = append(stream, serverFrame(true, opText|0x40, "one")...)
	stream = append(stream, serverFrame(false, opText|0x40, "t")...)
	stream = append(stream, serverFrame(true, opContinuation, "wo")...)
	stream = append(stream, serverFrame(true, opText, huge)...)
	stream = append(stream, serverFrame(true, opClose, "\x0f\xa0bye")...)
	return stream, []string{"message one", "control 9 p", "message ", "control a ", "message first", "message " + long,
		"deflated", "message one", "deflated", "message two", "message " + huge, "control 8 \x0f\xa0bye"}
}

func TestFramesSplitAnywhereGiveTheSameEvents(t *testing.T) {
	stream, want := session()
	got, err := events(stream)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("in one piece: %v, %.300q", err, got)
	}
	// Within the large payload one split is like another.
	splits := []int{}
	for i := range len(stream) + 1 {
		if i < 300 || i > len(stream)-300 {
			splits = append(splits, i)
		}
	}
	for _, i := range splits {
		if got, err := events(stream[:i], stream[i:]); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("split at %d: %v, %.300q", i, err, got)
		}
	}
	var single [][]byte
	for i := range stream {
		single = append(single, stream[i:i+1])
	}
	if got, err := events(single...); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("byte by byte: %v, %.300q", err, got)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var parts [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(1<<rng.IntN(17)))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		if got, err := events(parts...); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("in %d parts: %v", len(parts), err)
		}
	}
}

func TestIdleConnectionHoldsNoBytes(t *testing.T) {
	var a assembler
	f := serverFrame(true, opText, "hello")
	ignore := func([]byte, bool) error { return nil }
	if err := a.feed(f[:3], ignore, nil); err != nil || a.rest == nil {
		t.Fatalf("half a frame is not kept: %v", err)
	}
	if err := a.feed(f[3:], ignore, nil); err != nil || a.rest != nil || a.message != nil {
		t.Fatalf("a whole frame leaves %d bytes behind (%v)", cap(a.rest), err)
	}
}

func TestServersMistakesAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		stream []byte
		says   string
	}{
		"masked":                  {[]byte{0x81, 0x80, 0, 0, 0, 0}, "masks"},
		"reserved bit":            {[]byte{0xA1, 0}, "reserved"},
		"compressed ping":         {[]byte{0xC9, 0}, "reserved"},
		"compressed continuation": {[]byte{0x41, 0, 0xC0, 0}, "reserved"},
		"too long":                {[]byte{0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0}, "4294967296 bytes"},
		"negative":                {[]byte{0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255}, "at most"},
		"continuation of nothing": {serverFrame(true, opContinuation, "x"), "goes on"},
		"interleaved":             {append(serverFrame(false, opText, "x"), serverFrame(true, opText, "y")...), "inside"},
	} {
		if _, err := events(c.stream); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an error that says %q", name, err, c.says)
		}
	}
	var a assembler
	big := serverFrame(false, opText, strings.Repeat("x", maxFrame))
	if err := a.feed(big, func([]byte, bool) error { return nil }, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.feed(serverFrame(true, opContinuation, "x"), func([]byte, bool) error { return nil }, nil); err == nil {
		t.Error("a message grows without bound by fragments")
	}
}

func TestClientFramesAreMaskedAndWhole(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte("x"), n)
		b := appendClientFrame(nil, opText, payload)
		if b[0] != 0x81 || b[1]&0x80 == 0 || !bytes.HasSuffix(b, append(make([]byte, 4), payload...)) {
			t.Fatalf("%d bytes: % x…", n, b[:min(len(b), 14)])
		}
		// Without the mask it is what a server sends.
		b[1] &= 0x7f
		head := len(b) - n - 4
		f, size, err := decodeFrame(append(b[:head:head], payload...))
		if err != nil || size != head+n || !bytes.Equal(f.payload, payload) {
			t.Fatalf("%d bytes: decoded to %d bytes, %v", n, size, err)
		}
	}
}

func FuzzAssembler(f *testing.F) {
	stream, _ := session()
	f.Add(stream[:200], 7)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		at = int(uint(at) % uint(len(b)+1))
		whole, err1 := events(b)
		split, err2 := events(b[:at], b[at:])
		if !reflect.DeepEqual(whole, split) || (err1 == nil) != (err2 == nil) {
			t.Fatalf("split at %d of %x: %q (%v), want %q (%v)", at, b, split, err2, whole, err1)
		}
	})
}
