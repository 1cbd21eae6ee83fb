package proto

import (
	"bytes"
	"slices"
)

// Subprotocol is the only subprotocol that is spoken. A client that offers
// none gets the same messages.
const Subprotocol = "pushd.v1.json"

// tokenProtocol begins a subprotocol that is no protocol but carries the
// client token: a browser's WebSocket can set no other field.
const tokenProtocol = "pushd.token."

// Request is what a handshake request asks for. It is reused: what Parse sets
// are views into the head and into the Request, good until the next Parse. A
// field that the request does not have, or has empty, is nil.
type Request struct {
	Host   []byte
	Origin []byte
	Key    []byte // Sec-WebSocket-Key: 16 bytes in base64
	// Subprotocol is the one to select, "" if the client offered none.
	Subprotocol string
	// Deflate is the compression to agree to.
	Deflate Deflate

	// Token comes by the query, by Authorization: Bearer or by a subprotocol
	// "pushd.token.TOKEN", but in one of these ways only.
	Token  []byte
	User   []byte // of the query
	Cursor []byte // of the query

	UserAgent []byte // what the client calls itself; of several the first

	scratch []byte // decoded query values
	seen    seen
	offered bool       // any subprotocol
	whole   bool       // all that makes a handshake is there
	fault   *HTTPError // in what is asked for, not in the handshake's form
}

// seen is a set of fields that a request had.
type seen uint16

const (
	seenHost seen = 1 << iota
	seenOrigin
	seenKey
	seenVersion
	seenAuthorization
	// These two may be repeated.
	seenUpgrade
	seenConnection
)

// Parse reads a complete head, blank line included, of a request for path. It
// returns nil if the request is all that RFC 6455, section 4.2.1, wants of it.
func (r *Request) Parse(head []byte, path string) *HTTPError {
	*r = Request{scratch: r.scratch[:0]}
	// RFC 9112, section 2.2: an empty line before the request is ignored.
	head = bytes.TrimPrefix(head, []byte("\r\n"))
	line, rest, ok := cutLine(head)
	if !ok {
		return errLineEnd
	}
	if err := r.requestLine(line, path); err != nil {
		return err
	}
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return errLineEnd
		}
		if len(line) == 0 {
			return r.complete()
		}
		name, value, ok := cutField(line)
		if !ok {
			return errFieldLine
		}
		if err := r.field(name, value); err != nil {
			return err
		}
	}
}

// complete checks what only the whole head shows.
func (r *Request) complete() *HTTPError {
	const upgrade = seenUpgrade | seenConnection
	switch {
	case r.seen&seenHost == 0:
		return errHost
	case r.seen&upgrade != upgrade:
		return errUpgrade
	case r.seen&seenVersion == 0:
		return errVersion
	case r.seen&seenKey == 0:
		return errKey
	case r.offered && r.Subprotocol == "":
		return errSubprotocol
	}
	r.whole = true
	return r.fault
}

// wrong notes what is wrong with what is asked for. The rest is read all the
// same: a page that can be answered as a WebSocket is told so, see [Page].
func (r *Request) wrong(err *HTTPError) {
	if r.fault == nil {
		r.fault = err
	}
}

// requestLine reads the first line (RFC 9112, section 3).
func (r *Request) requestLine(line []byte, path string) *HTTPError {
	method, line, ok1 := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(line, []byte(" "))
	if !ok1 || !ok2 || len(method) > maxMethod || !isToken(method) || !isTarget(target) || !isHTTPVersion(version) {
		return errRequestLine
	}
	if version[5] != '1' || version[7] == '0' {
		return errHTTPVersion
	}
	target = r.origin(target)
	if r.Host != nil && !isHost(r.Host) {
		return errHost
	}
	target, query, _ := bytes.Cut(target, []byte("?"))
	if string(target) != path {
		return errPath
	}
	if string(method) != "GET" {
		return errMethod
	}
	r.query(query)
	return nil
}

// origin returns the path and query of a target. The host of an absolute
// target counts and the Host field does not (RFC 9112, section 3.2.2).
func (r *Request) origin(target []byte) []byte {
	if target[0] == '/' {
		return target
	}
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !equalFold(scheme, "http") && !equalFold(scheme, "https") {
		return nil
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.Host = rest[:end]
	return rest[end:]
}

// query reads the values of a query string.
func (r *Request) query(q []byte) {
	// Room for all of it, so that the views into scratch stay where they are.
	r.scratch = slices.Grow(r.scratch, len(q))
	for len(q) > 0 {
		var pair []byte
		pair, q, _ = bytes.Cut(q, []byte("&"))
		key, raw, _ := bytes.Cut(pair, []byte("="))
		var dst *[]byte
		twice := errQueryTwice
		switch string(key) {
		case "token":
			dst, twice = &r.Token, errTokenTwice
		case "user":
			dst = &r.User
		case "cursor":
			dst = &r.Cursor
		default:
			continue
		}
		value, ok := r.unescape(raw)
		if !ok {
			r.wrong(errQuery)
			return
		}
		r.setOnce(dst, value, twice)
	}
}

// setOnce sets *dst unless value is empty; if it was set before, err is what
// is wrong with the request.
func (r *Request) setOnce(dst *[]byte, value []byte, err *HTTPError) {
	switch {
	case len(value) == 0:
	case *dst != nil:
		r.wrong(err)
	default:
		*dst = value
	}
}

// unescape decodes a query value, in which a plus is a space.
func (r *Request) unescape(raw []byte) (value []byte, ok bool) {
	if bytes.IndexByte(raw, '%') < 0 && bytes.IndexByte(raw, '+') < 0 {
		return raw, true
	}
	start := len(r.scratch)
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(raw) {
				return nil, false
			}
			hi, lo := unhex(raw[i+1]), unhex(raw[i+2])
			if hi > 15 || lo > 15 {
				return nil, false
			}
			c = hi<<4 | lo
			i += 2
		}
		r.scratch = append(r.scratch, c)
	}
	return r.scratch[start:], true
}
