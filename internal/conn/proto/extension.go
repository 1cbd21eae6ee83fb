package proto

import "strconv"

// Deflate is what was agreed with a client on compression by
// permessage-deflate (RFC 7692); the zero Deflate is none. That neither side
// looks back at earlier messages (no context takeover) is always part of it:
// only so can one compressed message serve everybody, and no connection has to
// keep a window.
type Deflate struct {
	// Window says how far back within a message the client can look, as a
	// power of two: 8 to 15; 0 if there is no compression.
	Window uint8
	// asked: the client named the window, so the answer has to.
	asked bool
}

// MaxWindow is the widest window, 32 KiB, which any client has that names none.
const MaxWindow = 15

// append appends the agreement as a field.
func (d Deflate) append(dst []byte) []byte {
	if d.Window == 0 {
		return dst
	}
	dst = append(dst, "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"...)
	if d.asked {
		dst = append(dst, "; server_max_window_bits="...)
		dst = strconv.AppendUint(dst, uint64(d.Window), 10)
	}
	return dst
}

// extensions reads one Sec-WebSocket-Extensions field and agrees to the first
// offer that can be. One that cannot is passed over; what is no list of
// extensions fails the handshake (RFC 6455, section 9.1).
func (r *Request) extensions(list []byte) *HTTPError {
	some := false
	for list = trim(list); len(list) > 0; list = trim(list) {
		if list[0] == ',' {
			list = list[1:]
			continue
		}
		o := offer{window: MaxWindow}
		var ok bool
		if list, ok = o.read(list); !ok {
			return errExtensions
		}
		some = true
		if r.Deflate.Window == 0 && o.deflate && !o.declined {
			r.Deflate = Deflate{Window: o.window, asked: o.seen&serverWindow != 0}
		}
	}
	if !some {
		return errExtensions
	}
	return nil
}

// offer is one extension with its parameters.
type offer struct {
	deflate  bool // permessage-deflate, and not another
	declined bool // because of a parameter (RFC 7692, section 7.1)
	seen     uint8
	window   uint8
}

// The parameters of permessage-deflate.
const (
	serverNoContext uint8 = 1 << iota
	clientNoContext
	serverWindow
	clientWindow
)

// read reads an offer; what follows it is empty or begins with a comma.
func (o *offer) read(p []byte) (rest []byte, ok bool) {
	name, p := cutToken(p)
	o.deflate = string(name) == "permessage-deflate"
	ok = len(name) > 0
	for p = trim(p); ok && len(p) > 0 && p[0] != ','; p = trim(p) {
		if p[0] != ';' {
			return nil, false
		}
		// A semicolon with nothing behind it breaks the grammar, but some clients
		// send one, and it asks for nothing.
		if p = trim(p[1:]); len(p) > 0 && p[0] != ',' && p[0] != ';' {
			p, ok = o.parameter(p)
		}
	}
	return p, ok
}

// parameter reads one parameter.
func (o *offer) parameter(p []byte) (rest []byte, ok bool) {
	name, p := cutToken(p)
	var value []byte
	if p = trim(p); len(p) > 0 && p[0] == '=' {
		if value, p, ok = cutValue(trim(p[1:])); !ok {
			return nil, false
		}
	}
	o.take(name, value)
	return p, len(name) > 0
}

// take reads a parameter of permessage-deflate. The client's parameters for its
// own window and context are checked and then ignored: the server has room for
// the widest window, and the answer forbids a context.
func (o *offer) take(name, value []byte) {
	var which uint8
	good := value == nil
	switch string(name) {
	case "server_no_context_takeover":
		which = serverNoContext
	case "client_no_context_takeover":
		which = clientNoContext
	case "server_max_window_bits":
		which = serverWindow
		o.window, good = windowBits(value)
	case "client_max_window_bits":
		which = clientWindow
		if value != nil {
			_, good = windowBits(value)
		}
	default:
		good = false
	}
	o.declined = o.declined || !good || o.seen&which != 0
	o.seen |= which
}

// windowBits reads 8 to 15, without a zero before it.
func windowBits(value []byte) (bits uint8, ok bool) {
	switch {
	case len(value) == 1 && (value[0] == '8' || value[0] == '9'):
		return value[0] - '0', true
	case len(value) == 2 && value[0] == '1' && value[1] >= '0' && value[1] <= '5':
		return 10 + value[1] - '0', true
	}
	return 0, false
}

// cutToken returns the token that p begins with, which may be empty.
func cutToken(p []byte) (token, rest []byte) {
	n := 0
	for n < len(p) && tokenChars[p[n]] {
		n++
	}
	return p[:n], p[n:]
}

// cutValue returns the value that p begins with: a token, or one in quotes. One
// with escapes in it is returned with them, which no parameter accepts.
func cutValue(p []byte) (value, rest []byte, ok bool) {
	if len(p) == 0 || p[0] != '"' {
		value, rest = cutToken(p)
		return value, rest, len(value) > 0
	}
	escaped := false
	for n := 1; n < len(p); n++ {
		switch p[n] {
		case '\\':
			escaped = true
			n++
		case '"':
			value = p[1:n]
			return value, p[n+1:], escaped || isToken(value)
		}
	}
	return nil, nil, false
}
