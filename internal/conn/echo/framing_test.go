package main

import (
	"fmt"
	"strings"
)

// framing is group 1: messages of lengths about which the header changes.
func framing() (cases []autobahn) {
	for i, kind := range []struct {
		op   byte
		fill string
	}{{opText, "*"}, {opBinary, "\xfe"}} {
		for k, size := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
			f := frame{op: kind.op, payload: strings.Repeat(kind.fill, size)}
			c := autobahn{
				name:  fmt.Sprintf("1.%d.%d", i+1, k+1),
				about: fmt.Sprintf("a message of %d bytes with opcode %d", size, kind.op),
				talk:  talk(say(whole(f), f)),
			}
			if k == 7 {
				c.about += ", in chops of 997 octets"
				c.talk = talk(say(chopped(997, f), f))
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// splitting is group 10: a message in many frames comes back as one.
func splitting() []autobahn {
	long := strings.Repeat("*", 65536)
	return []autobahn{{
		name: "10.1.1", about: "text of 65,536 bytes in frames of 1,300",
		talk: talk(say(each(split(opText, cut(long, 1300)...)...), text(long))),
	}}
}

// pings is group 2.
func pings() []autobahn {
	binary := "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	long := strings.Repeat("\xfe", 125)
	var ten, back []frame
	for i := range 10 {
		ten, back = append(ten, ping(fmt.Sprint("payload-", i))), append(back, pong(fmt.Sprint("payload-", i)))
	}
	return []autobahn{
		{name: "2.1", about: "a ping without payload", talk: talk(say(whole(ping("")), pong("")))},
		{name: "2.2", about: "a ping with text", talk: talk(say(whole(ping("Hello, world!")), pong("Hello, world!")))},
		{name: "2.3", about: "a ping with bytes that are no text", talk: talk(say(whole(ping(binary)), pong(binary)))},
		{name: "2.4", about: "a ping with 125 bytes", talk: talk(say(whole(ping(long)), pong(long)))},
		{name: "2.5", about: "a ping with 126 bytes is too long", talk: talk(say(whole(ping(long + "\xfe")))), end: failing(1002)},
		{name: "2.6", about: "a ping with 125 bytes, octet by octet", talk: talk(say(octets(ping(long)), pong(long)))},
		{name: "2.7", about: "a pong that nobody asked for, without payload", talk: talk(say(whole(pong(""))))},
		{name: "2.8", about: "a pong that nobody asked for, with payload", talk: talk(say(whole(pong("unsolicited"))))},
		{name: "2.9", about: "a pong that nobody asked for, then a ping",
			talk: talk(say(whole(pong("unsolicited"), ping("payload")), pong("payload")))},
		{name: "2.10", about: "ten pings are answered one by one, in order", talk: talk(say(whole(ten...), back...))},
		{name: "2.11", about: "ten pings, octet by octet", talk: talk(say(octets(ten...), back...))},
	}
}

// with returns f with reserved bits set.
func with(rsv byte, f frame) frame {
	f.rsv = rsv
	return f
}

// reservedBits is group 3: without an extension all of them are forbidden.
func reservedBits() []autobahn {
	hello := text("Hello, world!")
	return []autobahn{
		{name: "3.1", about: "text with RSV 1", talk: talk(say(whole(with(1, hello)))), end: failing(1002)},
		{name: "3.2", about: "text, then text with RSV 2, then a ping",
			talk: talk(say(whole(hello, with(2, hello), ping("")), hello)), end: failing(1002)},
		{name: "3.3", about: "text, then text with RSV 3, then a ping, frame by frame",
			talk: talk(say(each(hello, with(3, hello), ping("")), hello)), end: failing(1002)},
		{name: "3.4", about: "text, then text with RSV 4, then a ping, octet by octet",
			talk: talk(say(octets(hello, with(4, hello), ping("")), hello)), end: failing(1002)},
		{name: "3.5", about: "binary with RSV 5", talk: talk(say(whole(with(5, blob("\x00\xff\xfe\xfd"))))), end: failing(1002)},
		{name: "3.6", about: "a ping with RSV 6", talk: talk(say(whole(with(6, ping("Hello"))))), end: failing(1002)},
		{name: "3.7", about: "a Close with RSV 7", talk: talk(say(whole(with(7, bye(1000, ""))))), end: failing(1002)},
	}
}

// opcodes is group 4: those that RFC 6455 reserves.
func opcodes() (cases []autobahn) {
	hello := text("Hello, world!")
	for i, first := range []byte{3, 11} {
		for k := range byte(5) {
			bad := frame{op: first + k}
			if k == 1 || k > 2 {
				bad.payload = "reserved opcode payload"
			}
			c := autobahn{
				name:  fmt.Sprintf("4.%d.%d", i+1, k+1),
				about: fmt.Sprintf("the reserved opcode %d, %d bytes", bad.op, len(bad.payload)),
				talk:  talk(say(whole(bad))),
				end:   failing(1002),
			}
			switch k {
			case 2, 3:
				c.about += ", between text and a ping"
				c.talk = talk(say(each(hello, bad, ping("")), hello))
			case 4:
				c.about += ", between text and a ping, octet by octet"
				c.talk = talk(say(octets(hello, bad, ping("")), hello))
			}
			cases = append(cases, c)
		}
	}
	return cases
}
