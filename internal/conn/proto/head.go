package proto

import (
	"bytes"
	"encoding/binary"
)

// HeadEnd returns the index just past the blank line that ends an HTTP
// request's head, or -1. A line that ends in LF alone counts here, though Parse
// refuses it: otherwise its client would wait for the handshake timeout to hear
// so. The first from bytes of b were searched before, so that a head that comes
// in many pieces costs no more than one that comes at once.
func HeadEnd(b []byte, from int) int {
	const longest = len("\n\r\n")
	for i := max(0, from-longest+1); ; i++ {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n
		switch rest := b[i+1:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 2
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 3
		}
	}
}

// maxMethod is the longest method that is read; the longest that is registered
// has 17 characters.
const maxMethod = 32

// CheckBegin returns how to refuse what begins with b and can become no
// request, whatever follows: a TLS handshake, say, or another protocol. It is
// nil while b may be a request's beginning. It looks at a few bytes only, so it
// may be asked again whenever there are more.
func CheckBegin(b []byte) *HTTPError {
	if string(b) == "\r" {
		return nil // may be half of the empty line that Parse ignores
	}
	for i, c := range bytes.TrimPrefix(b, []byte("\r\n")) {
		switch {
		case c == ' ' && i > 0:
			return nil
		case i == maxMethod || !tokenChars[c]:
			return errRequestLine
		}
	}
	return nil
}

// cutLine returns the first line of head, without its CRLF, and the rest.
func cutLine(head []byte) (line, rest []byte, ok bool) {
	end := bytes.IndexByte(head, '\n')
	if end < 1 || head[end-1] != '\r' {
		return nil, nil, false
	}
	return head[:end-1], head[end+1:], true
}

// cutField splits a field line. ok is false if the name is no token, by which
// space before the colon and folded lines are refused, or if the value has
// control characters, bare CR and LF among them (RFC 9112, section 5, and RFC
// 9110, section 5.5).
func cutField(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !isToken(line[:colon]) || !isText(line[colon+1:]) {
		return nil, nil, false
	}
	return line[:colon], trim(line[colon+1:]), true
}

// isText reports whether b has no control characters but tabs. Eight bytes are
// looked at in a step, which took a tenth off the time of Parse.
func isText(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7F*ones
		// A top bit is set if a byte is below ' ', or is DEL; or, rarely, if
		// it follows such a byte.
		if ((x-' '*ones)&^x|(del-ones)&^del)&tops != 0 && !eachIsText(b[:8]) {
			return false
		}
	}
	return eachIsText(b)
}

func eachIsText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7F {
			return false
		}
	}
	return true
}

// cutElement returns the first element of a comma-separated list and the rest
// of it.
func cutElement(list []byte) (element, rest []byte) {
	i := bytes.IndexByte(list, ',')
	if i < 0 {
		return trim(list), nil
	}
	return trim(list[:i]), list[i+1:]
}

// hasElement reports whether word, in lower case, is in the list, in any case.
func hasElement(list []byte, word string) bool {
	var element []byte
	for len(list) > 0 {
		if element, list = cutElement(list); equalFold(element, word) {
			return true
		}
	}
	return false
}

// trim returns b without spaces and tabs around it.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold reports whether b is word, which is ASCII in lower case.
func equalFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

const alnum = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var (
	// RFC 9110, section 5.6.2.
	tokenChars = chars(alnum + "!#$%&'*+-.^_`|~")
	// A host and port: RFC 3986, section 3.2.2.
	hostChars = chars(alnum + "-._~!$&'()*+,;=:[]%")
	// A target is visible ASCII without a fragment. URIs have fewer
	// characters, but browsers send the others in a query as they are.
	targetChars = chars(alnum + "!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
)

// charSet is a set of bytes.
type charSet [256]bool

func chars(s string) *charSet {
	var set charSet
	for _, c := range []byte(s) {
		set[c] = true
	}
	return &set
}

// holds reports whether b has characters of the set and no others.
func (set *charSet) holds(b []byte) bool {
	for _, c := range b {
		if !set[c] {
			return false
		}
	}
	return len(b) > 0
}

func isToken(b []byte) bool  { return tokenChars.holds(b) }
func isHost(b []byte) bool   { return hostChars.holds(b) }
func isTarget(b []byte) bool { return targetChars.holds(b) }

// isHTTPVersion reports whether b is HTTP/DIGIT.DIGIT.
func isHTTPVersion(b []byte) bool {
	return len(b) == 8 && string(b[:5]) == "HTTP/" && isDigit(b[5]) && b[6] == '.' && isDigit(b[7])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// unhex returns the value of a hexadecimal digit, or 255.
func unhex(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
