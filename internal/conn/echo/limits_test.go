package main

import (
	"fmt"
	"strings"
)

// mostRoom is the longest message of group 9. The suite's go up to 16 MiB and
// 1,000 round trips; an eighth of all that shows the same in a few seconds.
const mostRoom = 16 << 20 / scale

const scale = 8

// limits is group 9: long messages, in ever longer frames and chops, and many
// short ones, one at a time.
func limits() (cases []autobahn) {
	for i, kind := range []struct {
		op   byte
		fill string
	}{{opText, "*"}, {opBinary, "\xfe"}} {
		l := limit{kind.op, i, strings.Repeat(kind.fill, mostRoom)}
		cases = append(cases, l.long()...)
		cases = append(cases, l.fragmented()...)
		cases = append(cases, l.chopped()...)
		cases = append(cases, l.roundTrips()...)
	}
	return cases
}

// limit is one kind of message; its cases of text come before those of binary.
type limit struct {
	op    byte
	later int
	bytes string
}

func (l limit) frame(size int) frame { return frame{op: l.op, payload: l.bytes[:size]} }

func (l limit) name(group, number int) string { return fmt.Sprintf("9.%d.%d", group+l.later, number) }

// long is 9.1 and 9.2. A message over 1 MiB comes back in fragments of 64 KiB.
func (l limit) long() (cases []autobahn) {
	for i, size := range []int{64 << 10 / scale, 256 << 10 / scale, 1 << 20 / scale, 4 << 20 / scale, 8 << 20 / scale, 16 << 20 / scale} {
		f := l.frame(size)
		back := []frame{f}
		if size > 1<<20 {
			back = split(l.op, cut(f.payload, 64<<10)...)
		}
		cases = append(cases, autobahn{
			name: l.name(1, i+1), about: fmt.Sprintf("%d KiB in one frame", size>>10),
			talk: talk(say(whole(f), back...)), room: size,
		})
	}
	return cases
}

// fragmented is 9.3 and 9.4.
func (l limit) fragmented() (cases []autobahn) {
	f := l.frame(4 << 20 / scale)
	for i := range 9 {
		size := 64 << (2 * i) / scale
		cases = append(cases, autobahn{
			name: l.name(3, i+1), about: fmt.Sprintf("%d KiB in frames of %d bytes", len(f.payload)>>10, size),
			talk: talk(say(whole(split(l.op, cut(f.payload, size)...)...), f)), room: len(f.payload),
		})
	}
	return cases
}

// chopped is 9.5 and 9.6.
func (l limit) chopped() (cases []autobahn) {
	f := l.frame(1 << 20 / scale)
	for i := range 6 {
		cases = append(cases, autobahn{
			name: l.name(5, i+1), about: fmt.Sprintf("%d KiB in chops of %d octets", len(f.payload)>>10, 64<<i),
			talk: talk(say(chopped(64<<i, f), f)), room: len(f.payload),
		})
	}
	return cases
}

// roundTrips is 9.7 and 9.8.
func (l limit) roundTrips() (cases []autobahn) {
	const times = 1000 / scale
	for i, size := range []int{0, 16, 64, 256, 1024, 4096} {
		c := autobahn{name: l.name(7, i+1), about: fmt.Sprintf("%d messages of %d bytes, one at a time", times, size), room: 64 << 10}
		for range times {
			c.talk = append(c.talk, say(whole(l.frame(size)), l.frame(size)))
		}
		cases = append(cases, c)
	}
	return cases
}
