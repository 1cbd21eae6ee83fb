package main

import (
	"fmt"
	"slices"
	"strings"
)

// kosme is a Greek word of 11 bytes, of which one letter has three.
const kosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"

// utf8Handling is group 6. From 6.5 on it goes through the chapters of Markus
// Kuhn's decoder stress test (https://www.cl.cam.ac.uk/~mgk25/ucs/examples/
// UTF-8-test.txt), judged by RFC 3629.
func utf8Handling() []autobahn {
	cases := slices.Concat(utf8Pieces(), utf8FailFast())
	for i, chapter := range utf8Chapters() {
		for k, s := range chapter.texts {
			c := autobahn{
				name:  fmt.Sprintf("6.%d.%d", 5+i, k+1),
				about: fmt.Sprintf("%s: %.60x", chapter.about, s),
				talk:  talk(say(whole(text(s)), text(s))),
			}
			if chapter.allBad || slices.Contains(chapter.bad, k+1) {
				c.talk, c.end = talk(say(whole(text(s)))), failing(1007)
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// utf8Pieces is 6.1 to 6.3: characters in frames, and frames in characters.
func utf8Pieces() []autobahn {
	const valid = "Hello-µ@ßöäüàá-UTF-8!!"
	const surrogate = kosme + "\xed\xa0\x80edited"
	echoed := func(name, about, s string, frames []frame) autobahn {
		return autobahn{name: name, about: about, talk: talk(say(each(frames...), text(s)))}
	}
	return []autobahn{
		echoed("6.1.1", "empty text", "", split(opText, "")),
		echoed("6.1.2", "empty text in three frames", "", split(opText, "", "", "")),
		echoed("6.1.3", "text between two empty frames", "middle", split(opText, "", "middle", "")),
		echoed("6.2.1", "text in one frame", valid, split(opText, valid)),
		echoed("6.2.2", "text cut between two characters", valid, split(opText, "Hello-µ@ßöä", "üàá-UTF-8!!")),
		echoed("6.2.3", "text in frames of one byte", valid, split(opText, cut(valid, 1)...)),
		echoed("6.2.4", "a Greek word in frames of one byte", kosme, split(opText, cut(kosme, 1)...)),
		{name: "6.3.1", about: "a surrogate in one frame", talk: talk(say(whole(text(surrogate)))), end: failing(1007)},
		{name: "6.3.2", about: "a surrogate, in frames of one byte",
			talk: talk(say(each(split(opText, cut(surrogate, 1)...)...))), end: failing(1007)},
	}
}

// utf8FailFast is 6.4: text is refused at the byte that cannot go on, though
// the message is not complete. The bytes before it are not refused: a ping
// within the message is answered. Within a frame none can be sent, but then
// the frame's beginning must not fail the connection either, which the
// server's Close shows by coming only once; octet by octet, the same again.
func utf8FailFast() []autobahn {
	const good, rest = kosme, "edited"
	three := func(a, b, c string) ([]turn, []frame) {
		f := split(opText, a, b, c)
		return talk(say(whole(f[0], ping("")), pong("")), say(whole(f[1]))), f[2:]
	}
	early, earlyRest := three(good, "\xf4\x90\x80\x80", rest)
	earliest, earliestRest := three(good+"\xf4", "\x90", "\x80\x80"+rest)
	inFrame := func(bad string) []turn {
		f := encode(text(good + "\xf4\x90\x80\x80" + rest))
		head := len(f) - len("\xf4\x90\x80\x80"+rest)
		return talk(say(slices.Values([][]byte{f[:head], f[head : head+len(bad)]})))
	}
	return []autobahn{
		{name: "6.4.1", about: "three frames: fine, a code point too high, fine", talk: early, end: failing(1007), late: earlyRest},
		{name: "6.4.2", about: "three frames, the second ends with the byte that is one too many", talk: earliest, end: failing(1007), late: earliestRest},
		{name: "6.4.3", about: "one frame, up to the end of a code point too high", talk: inFrame("\xf4\x90\x80\x80"), end: failing(1007)},
		{name: "6.4.4", about: "one frame, up to the byte that is one too many", talk: inFrame("\xf4\x90"), end: failing(1007)},
	}
}

// chapter is one of texts, all of which are valid, or none (allBad), or all
// but the bad ones, counted from 1.
type chapter struct {
	about  string
	texts  []string
	bad    []int
	allBad bool
}

func utf8Chapters() []chapter {
	var prefixes []string
	for n := range len(kosme) {
		prefixes = append(prefixes, kosme[:n+1])
	}
	cutShort := []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf"}
	high, low := []string{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf"}, []string{"\xed\xb0\x80", "\xed\xbf\xbf"}
	return []chapter{
		{about: "valid text", texts: []string{"hello\x24world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world", kosme}},
		{about: "every prefix of a word", texts: prefixes, bad: []int{1, 3, 4, 6, 8, 10}},
		{about: "the first character of a length", texts: []string{"\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80"}},
		{about: "five and six bytes, the first", texts: []string{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"}, allBad: true},
		{about: "the last character of a length", texts: []string{"\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"}},
		{about: "four, five and six bytes, the last", texts: []string{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"}, allBad: true},
		{about: "other boundaries", texts: []string{"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80"}, bad: []int{5}},
		{about: "continuation bytes alone", texts: []string{"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf",
			"\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", run(0x80, 0xbf, "")}, allBad: true},
		{about: "first bytes alone", texts: []string{run(0xc0, 0xdf, " "), run(0xe0, 0xef, " "), run(0xf0, 0xf7, " "),
			run(0xf8, 0xfb, " "), run(0xfc, 0xfd, " ")}, allBad: true},
		{about: "the last byte is missing", texts: cutShort, allBad: true},
		{about: "one unfinished character after the other", texts: []string{strings.Join(cutShort, "")}, allBad: true},
		{about: "bytes that are never there", texts: []string{"\xfe", "\xff", "\xfe\xfe\xff\xff"}, allBad: true},
		{about: "an overlong slash", texts: []string{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"}, allBad: true},
		{about: "the highest overlong forms", texts: []string{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"}, allBad: true},
		{about: "an overlong NUL", texts: []string{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"}, allBad: true},
		{about: "a surrogate", texts: slices.Concat(high, []string{"\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"}), allBad: true},
		{about: "a pair of surrogates", texts: pairs(high, low), allBad: true},
		{about: "no character, but valid", texts: nonCharacters()},
		{about: "special", texts: []string{"\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"}},
	}
}

// run is all bytes from first to last, each before sep.
func run(first, last byte, sep string) string {
	var b strings.Builder
	for c := int(first); c <= int(last); c++ {
		b.WriteByte(byte(c))
		b.WriteString(sep)
	}
	return b.String()
}

func pairs(high, low []string) (all []string) {
	for _, h := range high {
		for _, l := range low {
			all = append(all, h+l)
		}
	}
	return all
}

// nonCharacters are the last two code points of each of the 17 planes.
func nonCharacters() (all []string) {
	for plane := range rune(17) {
		all = append(all, string(plane<<16|0xFFFE), string(plane<<16|0xFFFF))
	}
	return all
}
