package main

import (
	"bytes"
	"strings"
	"testing"

	"pushd.example/internal/conn/reactor"
)

// bombs are attacks by compressed messages.
func bombs() []attack {
	marked := func(payload string) []byte {
		return encode(frame{op: opBinary, rsv: rsv1, payload: payload})
	}
	empty := "\x00" + emptyBlock
	begun := encode(frame{op: opBinary, part: true, rsv: rsv1, payload: empty})
	before := proseData()[:4096]
	taken := strings.TrimPrefix(deflated(before, before), deflated(before)+emptyBlock)
	unlimited := reactor.Limits{MessageRate: -1}
	return []attack{
		{name: "a bomb", flood: marked(deflated(strings.Repeat("\x00", 16<<20))), code: 1009, why: reactor.TooBig},
		{name: "a bomb, and no limit on the rate", flood: marked(deflated(strings.Repeat("\x00", 4<<20))), code: 1009, why: reactor.TooBig, limits: unlimited},
		{name: "fragments of garbage without end", begin: begun, flood: encode(frame{op: opMore, part: true, payload: strings.Repeat("x", 4000)}), code: 1009, why: reactor.TooBig, limits: unlimited},
		{name: "a stream cut short", flood: marked(deflated(documentData()[:4096])[:2000]), code: 1007, why: reactor.Protocol},
		{name: "garbage", flood: marked(strings.Repeat("\xff", 4096)), code: 1007, why: reactor.Protocol},
		{name: "a context taken over", flood: marked(taken), code: 1007, why: reactor.Protocol},
		{name: "text that is none", flood: encode(frame{op: opText, rsv: rsv1, payload: deflated("\xff")}), code: 1007, why: reactor.Protocol},
		{name: "empty messages", flood: bytes.Repeat(marked("\x00"), 256), code: 4101, why: reactor.TooMany},
		{name: "messages of empty blocks", flood: marked(strings.Repeat(empty, 12_000) + "\x00"), code: 4101, why: reactor.TooMany},
		{name: "messages of ends", flood: marked(strings.Repeat("\x03\x00", 30_000) + "\x00"), code: 4101, why: reactor.TooMany},
		{name: "messages of tables", flood: marked(tables(60 << 10)), code: 4101, why: reactor.TooMany},
		{name: "empty blocks without end", begin: begun, flood: encode(frame{op: opMore, part: true, payload: strings.Repeat(empty, 800)}), code: 1009, why: reactor.TooBig, limits: unlimited},
		{name: "marked pings", flood: encode(with(rsv1, ping("x"))), code: 1002, why: reactor.Protocol},
		{name: "marked continuations", begin: begun, flood: encode(frame{op: opMore, part: true, rsv: rsv1}), code: 1002, why: reactor.Protocol},
	}
}

// tables is so many bytes of blocks that say which codes they use, and then
// use none: the dearest way to say nothing, in 90 bits (RFC 1951, section
// 3.2.7).
func tables(size int) string {
	var b []byte
	acc, n := uint64(0), 0
	bits := func(v uint64, count int) {
		acc |= v << n
		for n += count; n >= 8; n -= 8 {
			b = append(b, byte(acc))
			acc >>= 8
		}
	}
	for len(b) < size {
		bits(0b100, 3)   // not final, codes of its own
		bits(0, 5+5)     // the fewest literals and distances
		bits(18-4, 4)    // lengths of codes for lengths,
		bits(1<<6, 17*3) // of which those for "zeros"
		bits(1, 3)       // and for 1 are one bit
		bits(1, 1)
		bits(138-11, 7)
		bits(1, 1)
		bits(118-11, 7) // 256 zeros,
		bits(0, 2)      // a code for the end, and one for distances
		bits(0, 1)      // the end
	}
	bits(0, 3) // the empty block
	bits(0, 7)
	return string(b)
}

// A client that compresses to the server's harm is stopped as others are, while it
// serves those who do not.
func TestBombs(t *testing.T) {
	heapStaysSmall(t)
	for _, a := range bombs() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			s := besiege(t, a.limits)
			c := dialOffering(t, s.Addr(), suiteOffer, agreed)
			c.window = 15
			c.write(a.begin)
			defer flood(c, a.flood, len(a.flood))()
			f, err := c.read()
			for err == nil && f.op != opClose {
				f, err = c.read()
			}
			if err != nil || f.code() != a.code {
				t.Errorf("want Close %d, got %v, %v", a.code, f, err)
			}
			s.closed(a.why, 1)
		})
	}
}
