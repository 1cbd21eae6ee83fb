package main

import "fmt"

// fragmentation is group 5. Most cases come three times: in one piece, frame
// by frame, and octet by octet.
func fragmentation() []autobahn {
	two := split(opText, "fragment1", "fragment2")
	both := text("fragment1fragment2")
	hello := text("Hello, world!")
	between := []frame{two[0], ping("ping payload"), two[1]}
	heard := []frame{pong("ping payload"), both}
	cases := []autobahn{
		{name: "5.1", about: "a ping in two frames", talk: talk(say(whole(split(opPing, "fragment1", "fragment2")...))), end: failing(1002)},
		{name: "5.2", about: "a pong in two frames", talk: talk(say(whole(split(opPong, "fragment1", "fragment2")...))), end: failing(1002)},
	}
	three := func(number int, about string, frames, hear []frame, end ending) {
		for i, how := range []struct {
			name string
			say  pieces
		}{{"in one piece", whole(frames...)}, {"frame by frame", each(frames...)}, {"octet by octet", octets(frames...)}} {
			cases = append(cases, autobahn{
				name: fmt.Sprint("5.", number+i), about: about + ", " + how.name,
				talk: talk(turn{how.say, hear}), end: end,
			})
		}
	}
	three(3, "text in two frames", two, []frame{both}, ending{})
	three(6, "text in two frames and a ping between them, which is answered first", between, heard, ending{})
	three(9, "a last continuation of nothing, then text", []frame{{op: opMore, payload: "fragment"}, hello}, nil, failing(1002))
	three(12, "a continuation of nothing, then text", []frame{{op: opMore, part: true, payload: "fragment"}, hello}, nil, failing(1002))
	return append(cases, strayContinuations(two, both)...)
}

func strayContinuations(two []frame, both frame) []autobahn {
	hello := text("Hello, world!")
	stray := func(part bool) []frame {
		once := append([]frame{{op: opMore, part: part, payload: "fragment1"}}, split(opText, "fragment2", "fragment3")...)
		return append(once, once...)
	}
	five := split(opText, "fragment1", "fragment2", "fragment3", "fragment4", "fragment5")
	all := text("fragment1fragment2fragment3fragment4fragment5")
	first, second := ping("pongme 1!"), ping("pongme 2!")
	// The first pong comes before the message is complete: nothing else is sent
	// until it is there.
	patient := func(how func(...frame) pieces) []turn {
		return talk(
			say(how(five[0], five[1], first), pong(first.payload)),
			say(how(five[2], five[3], second, five[4]), pong(second.payload), all),
		)
	}
	return []autobahn{
		{name: "5.15", about: "text in two frames, then a continuation of nothing, then text",
			talk: talk(say(whole(two[0], two[1], frame{op: opMore, part: true, payload: "fragment3"}, hello), both)), end: failing(1002)},
		{name: "5.16", about: "twice: a continuation of nothing, then text in two frames", talk: talk(say(each(stray(true)...))), end: failing(1002)},
		{name: "5.17", about: "twice: a last continuation of nothing, then text in two frames", talk: talk(say(each(stray(false)...))), end: failing(1002)},
		{name: "5.18", about: "text in two frames that both say text",
			talk: talk(say(each(frame{op: opText, part: true, payload: "fragment1"}, text("fragment2")))), end: failing(1002)},
		{name: "5.19", about: "text in five frames; pings after the second and the fourth are answered at once", talk: patient(whole)},
		{name: "5.20", about: "text in five frames with pings between them, frame by frame", talk: patient(each)},
	}
}
