package rpc

import (
	"encoding/json"
	"iter"
)

// The functions of this file read JSON that json.Valid has accepted. They need no
// errors of their own: there is always a closing quote, bracket or brace.

// member is the position of one member of an object in its text.
type member struct {
	comma       int // before the member; -1 for the first
	key, keyEnd int // quotes included
	value, end  int
}

// members yields the members of the object in b. The only error is that b is no
// object.
func members(b []byte) iter.Seq2[member, error] {
	return func(yield func(member, error) bool) {
		i := skipSpace(b, 0)
		if b[i] != '{' {
			yield(member{}, &FieldError{"body", "want a JSON object"})
			return
		}
		comma := -1
		for i = skipSpace(b, i+1); b[i] == '"'; i = skipSpace(b, i+1) {
			m := member{comma: comma, key: i, keyEnd: stringEnd(b, i)}
			colon := skipSpace(b, m.keyEnd)
			m.value = skipSpace(b, colon+1)
			m.end = valueEnd(b, m.value)
			comma = skipSpace(b, m.end)
			if !yield(m, nil) || b[comma] == '}' {
				return
			}
			i = comma
		}
	}
}

// name returns the member's name without escapes.
func (m member) name(b []byte) string {
	key := b[m.key+1 : m.keyEnd-1]
	for _, c := range key {
		if c == '\\' {
			var name string
			_ = json.Unmarshal(b[m.key:m.keyEnd], &name) // b is valid
			return name
		}
	}
	return string(key)
}

// blank overwrites the member, and the comma that separates it, with spaces.
func (m member) blank(b []byte) {
	from := m.key
	if m.comma >= 0 {
		from = m.comma
	} else if after := skipSpace(b, m.end); b[after] == ',' {
		b[after] = ' '
	}
	for i := from; i < m.end; i++ {
		b[i] = ' '
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// stringEnd returns the index after the string that begins at i.
func stringEnd(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// valueEnd returns the index after the value that begins at i.
func valueEnd(b []byte, i int) int {
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		return containerEnd(b, i)
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == ',' || c == '}' || c == ']' || isSpace(c) {
			break
		}
	}
	return i
}

func containerEnd(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return i + 1
			}
		}
		i++
	}
}
