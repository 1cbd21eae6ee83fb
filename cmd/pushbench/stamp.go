//go:build linux

package main

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A stamp travels in every message's data and tells its receiver which run and
// message it is and when it was due to be sent. It is 20 bytes of plain
// letters, digits, '-', '_' and '~', so that it survives whatever encoding a
// server wraps messages in, and short enough for frames of 150 bytes:
//
//	~pb rrrr tttttttt sssss    (without the blanks; base 64, most significant first)
type stamp struct {
	run uint32 // 24 bits, drawn anew for every run
	seq uint32 // 30 bits, from 0
	due int64  // nanoseconds of the clock, kept to the microsecond
}

const (
	stampMark = "~pb"
	runChars  = 4
	dueChars  = 8
	seqChars  = 5
	stampSize = len(stampMark) + runChars + dueChars + seqChars

	maxRun = 1<<(6*runChars) - 1
	// maxSeq bounds the messages of a run: a receiver counts each one.
	maxSeq = 1<<28 - 1

	// minData is the least size of a message's data: a stamp in quotes.
	minData = stampSize + 2
)

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

var digitValue = func() (v [256]int8) {
	for i := range v {
		v[i] = -1
	}
	for i := range len(digits) {
		v[digits[i]] = int8(i)
	}
	return v
}()

func appendBase64(dst []byte, v uint64, chars int) []byte {
	for shift := 6 * (chars - 1); shift >= 0; shift -= 6 {
		dst = append(dst, digits[v>>shift&63])
	}
	return dst
}

func parseBase64(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		d := digitValue[c]
		if d < 0 {
			return 0, false
		}
		v = v<<6 | uint64(d)
	}
	return v, true
}

func (s stamp) append(dst []byte) []byte {
	dst = append(dst, stampMark...)
	dst = appendBase64(dst, uint64(s.run), runChars)
	dst = appendBase64(dst, uint64(s.due)/1000, dueChars)
	return appendBase64(dst, uint64(s.seq), seqChars)
}

// newData returns a message's data: a JSON string of size bytes (at least
// minData), or an array of a string and value, if that is not nil; with room
// for a stamp behind the first quote. See [stamp.put].
func newData(size int, value []byte) []byte {
	if value != nil {
		data := append([]byte(`["`), make([]byte, stampSize)...)
		data = append(append(data, `",`...), value...)
		return append(data, ']')
	}
	data := append(make([]byte, 0, size), '"')
	for i := range size - 2 {
		// Letters that do not repeat quickly: a server that compresses should
		// not find this easier than text.
		data = append(data, digits[(i*i*7+i*13)>>2&63])
	}
	return append(data, '"')
}

// put writes s to where newData left room for it.
func (s stamp) put(data []byte) { s.append(data[:bytes.IndexByte(data, '"')+1]) }

// nextStamp finds the first stamp in b and returns what follows it; ok is false
// if there is none.
func nextStamp(b []byte) (s stamp, rest []byte, ok bool) {
	for {
		i := bytes.Index(b, []byte(stampMark))
		if i < 0 || len(b)-i < stampSize {
			return stamp{}, nil, false
		}
		f := b[i+len(stampMark) : i+stampSize]
		run, ok1 := parseBase64(f[:runChars])
		due, ok2 := parseBase64(f[runChars : runChars+dueChars])
		seq, ok3 := parseBase64(f[runChars+dueChars:])
		if ok1 && ok2 && ok3 && seq <= maxSeq {
			return stamp{run: uint32(run), due: int64(due) * 1000, seq: uint32(seq)}, b[i+stampSize:], true
		}
		b = b[i+len(stampMark):]
	}
}

// clock is CLOCK_MONOTONIC in nanoseconds: one time for all processes of this
// machine, which no clock adjustment moves. It is read through time.Since,
// which needs no system call.
type clock struct {
	start  time.Time
	offset int64
}

// newClock compares the two ways to read the time, several times over: were
// the thread interrupted in between, they would seem to differ.
func newClock() (c clock, err error) {
	best := time.Hour
	for range 32 {
		var ts unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			return c, fmt.Errorf("reading the clock: %w", err)
		}
		if took := time.Since(before); took < best {
			best, c = took, clock{start: before, offset: ts.Nano() - int64(took)/2}
		}
	}
	return c, nil
}

func (c clock) now() int64 { return c.offset + int64(time.Since(c.start)) }
