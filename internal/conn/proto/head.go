package proto

import "bytes"

// HeadEnd returns the index just past the blank line that ends an HTTP
// request's head, or -1. The first from bytes of b were searched before, so
// that a head that comes in drips costs no more than one in a piece.
func HeadEnd(b []byte, from int) int {
	const end = "\r\n\r\n"
	start := max(0, from-len(end)+1)
	i := bytes.Index(b[start:], []byte(end))
	if i < 0 {
		return -1
	}
	return start + i + len(end)
}

// cutLine returns the first line of head, without its CRLF, and the rest. ok
// is false if the line holds control characters other than tabs, which a bare
// CR or LF is too (RFC 9112, section 2.2, and RFC 9110, section 5.5).
func cutLine(head []byte) (line, rest []byte, ok bool) {
	end := bytes.IndexByte(head, '\n')
	if end < 1 || head[end-1] != '\r' {
		return nil, nil, false
	}
	line, rest = head[:end-1], head[end+1:]
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7F {
			return nil, nil, false
		}
	}
	return line, rest, true
}

// cutField splits a field line. ok is false if the name is no token; space
// before the colon and folded lines are refused by that (RFC 9112, section
// 5.1 and 5.2).
func cutField(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !isToken(line[:colon]) {
		return nil, nil, false
	}
	return line[:colon], trim(line[colon+1:]), true
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

// isToken reports whether b is a token (RFC 9110, section 5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		if !isAlnum(c) && !in(c, "!#$%&'*+-.^_`|~") {
			return false
		}
	}
	return len(b) > 0
}

// isHost reports whether b is made of what a host and port are made of (RFC
// 3986, section 3.2.2).
func isHost(b []byte) bool {
	for _, c := range b {
		if !isAlnum(c) && !in(c, "-._~!$&'()*+,;=:[]%") {
			return false
		}
	}
	return len(b) > 0
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func in(c byte, set string) bool {
	for i := range len(set) {
		if set[i] == c {
			return true
		}
	}
	return false
}

// isTarget reports whether b is visible ASCII without a fragment. URIs have
// fewer characters, but browsers send the others in a query as they are.
func isTarget(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7F || c == '#' {
			return false
		}
	}
	return len(b) > 0
}

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
