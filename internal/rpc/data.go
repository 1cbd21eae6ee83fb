package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// DataRules say which JSON a message's data may be. Data that is accepted is kept
// and delivered byte for byte under either of them.
type DataRules string

// The rules.
const (
	// StrictData accepts JSON that decoders in all languages read alike (RFC 7493,
	// I-JSON): no lone surrogates, no name twice in one object, and arrays and
	// objects nested at most 128 deep. PHP's json_decode returns null for a whole
	// page of history if one message in it has a lone surrogate.
	StrictData DataRules = "strict"
	// AnyData accepts any JSON of RFC 8259, nested at most 10,000 deep.
	AnyData DataRules = "any"
)

// maxDepth is how deep StrictData lets arrays and objects nest.
const maxDepth = 128

// check returns nil if data is one JSON value of at most so many bytes, as the
// rules want it. It allocates nothing for the common data that is accepted.
//
// json.Valid accepts bytes that are not UTF-8, but data is sent in WebSocket text
// frames, which must be UTF-8 (RFC 6455, section 5.6).
func (r DataRules) check(data []byte, most int) error {
	switch {
	case len(data) == 0:
		return &FieldError{"data", "required: one JSON value"}
	case len(data) > most:
		return tooLong("data", most, len(data))
	case !utf8.Valid(data):
		return &FieldError{"data", fmt.Sprintf("not valid UTF-8 at byte %d", invalidUTF8(data))}
	case !json.Valid(data):
		return notJSON("data", data)
	case r == AnyData:
		return nil
	}
	s := strictScanner{b: data}
	s.value(0, 0)
	return s.err
}

// strictScanner checks one JSON value, which json.Valid has accepted, against
// StrictData. err is the first fault.
type strictScanner struct {
	b   []byte
	err error
	// names are those of the objects around the current position, the outermost
	// object's first; count is their number. It is an array so that it needs no
	// memory from the heap: an object whose names do not fit has a map.
	names [48]name
	count int
}

// name is a name in an object: its text without quotes, as written.
type name struct {
	text    []byte
	escaped bool
}

// fail keeps the first fault. i is its index in the value; callers count from 1.
func (s *strictScanner) fail(i int, problem string) {
	if s.err == nil {
		s.err = &FieldError{"data", fmt.Sprintf("%s at byte %d: JSON decoders differ on it; change it, or run pushd with -data-rules any", problem, i+1)}
	}
}

// value checks the value at i, inside of so many arrays and objects, and returns
// the index after it.
func (s *strictScanner) value(i, depth int) int {
	i = skipSpace(s.b, i)
	switch s.b[i] {
	case '"':
		_, i = s.string(i)
		return i
	case '[', '{':
		if depth == maxDepth {
			s.fail(i, fmt.Sprintf("nested deeper than %d", maxDepth))
			return len(s.b)
		}
		return s.container(i, depth+1)
	}
	return valueEnd(s.b, i)
}

// container checks the array or object that begins at i.
func (s *strictScanner) container(i, depth int) int {
	outer, object := s.count, s.b[i] == '{'
	var seen map[string]bool // of an object with many names
	i = skipSpace(s.b, i+1)
	for s.b[i] != ']' && s.b[i] != '}' {
		if object {
			at := i
			var n name
			n, i = s.string(i)
			if s.err == nil && s.repeated(n, outer, &seen) {
				s.fail(at, fmt.Sprintf("the name %q is in one object twice, the second time", clip(n.decoded())))
			}
			i = skipSpace(s.b, i) + 1 // the colon
		}
		i = s.value(i, depth)
		if s.err != nil {
			return len(s.b)
		}
		if i = skipSpace(s.b, i); s.b[i] == ',' {
			i = skipSpace(s.b, i+1)
		}
	}
	s.count = outer
	return i + 1
}

// manyNames is how many names of one object are compared one by one. A map is
// faster for more.
const manyNames = 24

// repeated reports whether the object whose names begin at outer has n already,
// and adds it.
func (s *strictScanner) repeated(n name, outer int, seen *map[string]bool) bool {
	own := s.names[outer:s.count]
	if *seen == nil && len(own) < manyNames && s.count < len(s.names) {
		for _, other := range own {
			if n.equal(other) {
				return true
			}
		}
		s.names[s.count] = n
		s.count++
		return false
	}
	if *seen == nil {
		*seen = make(map[string]bool, 2*manyNames)
		for _, other := range own {
			(*seen)[other.decoded()] = true
		}
	}
	text := n.decoded()
	if (*seen)[text] {
		return true
	}
	(*seen)[text] = true
	return false
}

func (n name) equal(other name) bool {
	if !n.escaped && !other.escaped {
		return string(n.text) == string(other.text)
	}
	return n.decoded() == other.decoded()
}

// decoded returns the name without escapes.
func (n name) decoded() string {
	if !n.escaped {
		return string(n.text)
	}
	quoted := append(append([]byte{'"'}, n.text...), '"')
	var text string
	_ = json.Unmarshal(quoted, &text) // it is part of valid JSON
	return text
}

// string checks the string that begins at i and returns its text and the index
// after it.
func (s *strictScanner) string(i int) (n name, end int) {
	begin := i + 1
	for i = begin; s.b[i] != '"'; i++ {
		if s.b[i] != '\\' {
			continue
		}
		n.escaped = true
		i++
		if s.b[i] == 'u' {
			i = s.escape(i)
		}
	}
	n.text = s.b[begin:i]
	return n, i + 1
}

// escape checks the escape uXXXX that begins at i, together with the low surrogate
// behind a high one. It returns the index of its last byte.
func (s *strictScanner) escape(i int) int {
	unit := hex4(s.b[i+1:])
	end := i + 4
	switch {
	case unit < 0xD800 || unit > 0xDFFF:
		return end
	case unit < 0xDC00 && s.b[end+1] == '\\' && s.b[end+2] == 'u':
		if low := hex4(s.b[end+3:]); low >= 0xDC00 && low <= 0xDFFF {
			return end + 6
		}
	}
	s.fail(i-1, fmt.Sprintf("lone surrogate %s", s.b[i-1:end+1]))
	return end
}

// hex4 returns the number that the four hexadecimal digits at the beginning of b
// stand for.
func hex4(b []byte) (n int) {
	for _, c := range b[:4] {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c&^0x20 - 'A' + 10
		}
		n = n<<4 | int(c)
	}
	return n
}

// notJSON returns the error for b, which json.Valid has refused. It names the byte
// at which b stops being JSON, counted from 1.
func notJSON(field string, b []byte) error {
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(b, &raw); errors.As(err, &syntax) {
		return &FieldError{field, fmt.Sprintf("not valid JSON at byte %d: %v", syntax.Offset, err)}
	}
	return &FieldError{field, "not valid JSON"}
}

// invalidUTF8 returns the number of the first byte that is not UTF-8, from 1.
func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i + 1
		}
		i += size
	}
	return len(b)
}
