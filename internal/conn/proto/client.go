package proto

import (
	"bytes"
	"encoding/json"

	"pushd.example/internal/history"
)

// clientType is the type of a client's message.
type clientType uint8

// The types of messages that clients send.
const (
	// ClientAck moves the user's read mark to Cursor.
	ClientAck clientType = iota + 1
	// ClientPing asks for a pong message.
	ClientPing
)

// ClientMessage is a message from a client.
type ClientMessage struct {
	Type   clientType
	Cursor history.Cursor // of an ack
}

// ClientError is why a client's message was not understood; it is what
// [AppendError] answers. All values are static.
type ClientError struct {
	Code    string
	Message string
}

// Error returns the message.
func (e *ClientError) Error() string { return e.Message }

// Errors in clients' messages.
var (
	errBadJSON     = &ClientError{codeBadJSON, "a message is one JSON object"}
	errUnknownType = &ClientError{codeUnknownType, `"type" must be "ack" or "ping"`}
	errBadCursor   = &ClientError{CodeBadCursor, `"cursor" must be the cursor of a hello, or the two last ids joined to one`}
)

// ParseClient reads the payload of a text message into m. Keys that it does
// not know are ignored, so that newer clients can talk to older servers; of a
// key given twice the last one counts. It keeps no reference to payload.
//
// Messages as clients write them (string values, nothing escaped) cost no
// allocation; all others go through encoding/json.
func ParseClient(payload []byte, m *ClientMessage) *ClientError {
	*m = ClientMessage{}
	var f fields
	if !f.scan(payload) {
		f = fields{}
		if !f.decode(payload) {
			return errBadJSON
		}
	}
	switch string(f.typ) {
	case "ping":
		m.Type = ClientPing
		return nil
	case "ack":
		c, err := history.ParseCursor(string(f.cursor))
		if err != nil {
			return errBadCursor
		}
		m.Type, m.Cursor = ClientAck, c
		return nil
	}
	return errUnknownType
}

// fields are the string values of the keys that messages have; nil if a key
// is missing or its value no string.
type fields struct{ typ, cursor []byte }

// set keeps value if the key is known.
func (f *fields) set(key, value []byte) {
	switch string(key) {
	case "type":
		f.typ = value
	case "cursor":
		f.cursor = value
	}
}

// scan reads a flat object of plain strings and reports false for everything
// else, good or bad.
func (f *fields) scan(p []byte) bool {
	p, ok := skip(p, '{')
	for first := true; ok; first = false {
		if rest, end := skip(p, '}'); end && first {
			return len(space(rest)) == 0
		}
		var key, value []byte
		if key, p, ok = plainString(p); !ok {
			return false
		}
		if p, ok = skip(p, ':'); !ok {
			return false
		}
		if value, p, ok = plainString(p); !ok {
			return false
		}
		f.set(key, value)
		if rest, end := skip(p, '}'); end {
			return len(space(rest)) == 0
		}
		p, ok = skip(p, ',')
	}
	return false
}

// decode reads any JSON object.
func (f *fields) decode(p []byte) bool {
	// Not a struct: its tags would match keys whatever their case.
	var all map[string]json.RawMessage
	if json.Unmarshal(p, &all) != nil || all == nil {
		return false
	}
	for key, raw := range all {
		var value *string
		if json.Unmarshal(raw, &value) == nil && value != nil {
			f.set([]byte(key), []byte(*value))
		}
	}
	return true
}

// space returns p without the white space before it.
func space(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\n' || p[0] == '\r' || p[0] == '\t') {
		p = p[1:]
	}
	return p
}

// skip returns what follows c, which may have white space before it.
func skip(p []byte, c byte) (rest []byte, ok bool) {
	if p = space(p); len(p) == 0 || p[0] != c {
		return p, false
	}
	return p[1:], true
}

// plainString returns the content of a JSON string without escapes, and what
// follows it.
func plainString(p []byte) (content, rest []byte, ok bool) {
	p, ok = skip(p, '"')
	end := bytes.IndexByte(p, '"')
	if !ok || end < 0 {
		return nil, p, false
	}
	content = p[:end]
	for _, c := range content {
		if c < ' ' || c == '\\' {
			return nil, p, false
		}
	}
	return content, p[end+1:], true
}
