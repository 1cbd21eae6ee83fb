package main

import (
	"fmt"
	"slices"
	"strings"
)

// closing is group 7.
func closing() []autobahn {
	hello := text("Hello World!")
	parts := split(opText, "fragment1", "fragment2")
	normal := bye(1000, "")
	long := text(strings.Repeat("BAsd7&jh23", 26215)[:256<<10])
	ok := answering(1000)
	cases := []autobahn{
		{name: "7.1.1", about: "text, then Close: both are answered", talk: talk(say(whole(hello, normal), hello)), end: ok},
		{name: "7.1.2", about: "a second Close is ignored", talk: talk(say(whole(normal, normal))), end: ok},
		{name: "7.1.3", about: "a ping after Close is ignored", talk: talk(say(whole(normal, ping("")))), end: ok},
		{name: "7.1.4", about: "text after Close is ignored", talk: talk(say(whole(normal, hello))), end: ok},
		{name: "7.1.5", about: "Close within a message, whose rest is ignored",
			talk: talk(say(whole(parts[0], normal, parts[1], ping("")))), end: ok},
		{name: "7.1.6", about: "256 KiB, text, Close and a ping at once: all before Close is answered in full",
			talk: talk(say(whole(long, hello, normal, ping("")), long, hello)), end: ok, room: len(long.payload)},
		{name: "7.3.1", about: "Close without payload", talk: talk(say(whole(bye(0, "")))), end: answering(0)},
		{name: "7.3.2", about: "Close with one byte", talk: talk(say(whole(frame{op: opClose, payload: "a"}))), end: failing(1002)},
		{name: "7.3.3", about: "Close with a code", talk: talk(say(whole(normal))), end: ok},
		{name: "7.3.4", about: "Close with a code and a reason", talk: talk(say(whole(bye(1000, "Hello World!")))), end: ok},
		{name: "7.3.5", about: "Close with the longest reason", talk: talk(say(whole(bye(1000, strings.Repeat("*", 123))))), end: ok},
		{name: "7.3.6", about: "Close with a reason too long", talk: talk(say(whole(bye(1000, strings.Repeat("*", 124))))), end: failing(1002)},
		{name: "7.5.1", about: "Close with a reason that is not UTF-8", talk: talk(say(whole(bye(1000, kosme+"\xed\xa0\x80edited")))), end: failing(1007)},
	}
	return slices.Concat(cases,
		closeCodes("7.7.", answering, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999),
		closeCodes("7.9.", invalid, 0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999),
		// The suite leaves these open; RFC 6455, section 7.4.2, defines no
		// codes from 5000 on.
		closeCodes("7.13.", invalid, 5000, 65535))
}

// invalid is how a Close ends that must not carry its code.
func invalid(uint16) ending { return failing(1002) }

func closeCodes(prefix string, end func(code uint16) ending, codes ...uint16) (cases []autobahn) {
	for i, code := range codes {
		f := frame{op: opClose, payload: string([]byte{byte(code >> 8), byte(code)})}
		cases = append(cases, autobahn{
			name: fmt.Sprint(prefix, i+1), about: fmt.Sprint("Close with code ", code),
			talk: talk(say(whole(f))), end: end(code),
		})
	}
	return cases
}

// beyond is what the suite does not ask.
func beyond() []autobahn {
	bytes := func(b ...byte) pieces { return slices.Values([][]byte{b}) }
	header := func(declared int) pieces { return slices.Values([][]byte{text("").appendHeader(nil, declared)}) }
	many := split(opText, slices.Repeat([]string{"x"}, 65)...)
	cases := []autobahn{
		{name: "unmasked text", about: "RFC 6455, section 5.1", talk: talk(say(bytes(0x81, 1, 'x'))), end: failing(1002)},
		{name: "unmasked Close", about: "RFC 6455, section 5.1", talk: talk(say(bytes(0x88, 0))), end: failing(1002)},
		{name: "length in 2 bytes, needs 1", about: "RFC 6455, section 5.2: the shortest form",
			talk: talk(say(bytes(0x82, 0xfe, 0, 125, 1, 2, 3, 4))), end: failing(1002)},
		{name: "length in 8 bytes, needs 2", about: "RFC 6455, section 5.2: the shortest form",
			talk: talk(say(bytes(0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4))), end: failing(1002)},
		{name: "length of 64 bits", about: "RFC 6455, section 5.2: the top bit must be 0",
			talk: talk(say(bytes(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4))), end: failing(1002)},
		{name: "ping with a length in 2 bytes", about: "RFC 6455, section 5.5: at most 125 bytes",
			talk: talk(say(bytes(0x89, 0xfe, 0, 126, 1, 2, 3, 4))), end: failing(1002)},
		{name: "too big by its header", about: "one byte over the limit is refused before it comes",
			talk: talk(say(header(64<<10 + 1))), end: failing(1009)},
		{name: "too big together", about: "the fragment that crosses the limit is refused by its header",
			talk: talk(say(whole(frame{op: opBinary, part: true, payload: strings.Repeat("x", 64<<10)}, ping("")), pong("")),
				say(whole(frame{op: opMore, payload: "x"}))), end: failing(1009)},
		{name: "64 fragments", about: "as many as there may be", talk: talk(say(whole(many[:63]...)), say(whole(frame{op: opMore, payload: "x"}), text(strings.Repeat("x", 64))))},
		{name: "65 fragments", about: "one more than there may be", talk: talk(say(whole(many...))), end: failing(1009)},
		{name: "pings within binary", about: "binary is not judged as text, control frames within it neither",
			talk: talk(say(whole(frame{op: opBinary, part: true, payload: "\xff"}, ping("\xff"), frame{op: opMore, payload: "\xfe"}), pong("\xff"), blob("\xff\xfe")))},
		{name: "pings within text", about: "control frames within text are not judged as text, nor do they disturb its check",
			talk: talk(say(whole(frame{op: opText, part: true, payload: "\xce"}, ping("\xff"), frame{op: opMore, payload: "\xba"}), pong("\xff"), text("\xce\xba")))},
		{name: "text after text cut short", about: "what one message left open does not leak into the next",
			talk: talk(say(whole(split(opText, "\xce", "\xba")...), text("\xce\xba")), say(whole(text(kosme)), text(kosme)))},
	}
	return slices.Concat(cases,
		closeCodes("registered later ", answering, 1012, 1013, 1014),
		closeCodes("never on the wire ", invalid, 1015))
}
