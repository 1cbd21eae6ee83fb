package proto

import (
	"bytes"
	"encoding/base64"
)

// field reads one field.
func (r *Request) field(name, value []byte) *HTTPError {
	switch {
	case equalFold(name, "host"):
		return r.host(value)
	case equalFold(name, "origin"):
		r.Origin = value
		return r.once(seenOrigin, errFieldTwice)
	case equalFold(name, "upgrade"):
		if hasElement(value, "websocket") {
			r.seen |= seenUpgrade
		}
	case equalFold(name, "connection"):
		if hasElement(value, "upgrade") {
			r.seen |= seenConnection
		}
	case equalFold(name, "sec-websocket-key"):
		return r.key(value)
	case equalFold(name, "sec-websocket-version"):
		if string(value) != "13" {
			return errVersion
		}
		return r.once(seenVersion, errFieldTwice)
	case equalFold(name, "sec-websocket-protocol"):
		return r.protocols(value)
	case equalFold(name, "sec-websocket-extensions"):
		return r.extensions(value)
	case equalFold(name, "authorization"):
		return r.authorization(value)
	case equalFold(name, "user-agent"):
		if r.UserAgent == nil {
			r.UserAgent = value
		}
	case equalFold(name, "content-length"):
		if string(value) != "0" {
			return errBody
		}
	case equalFold(name, "transfer-encoding"):
		return errBody
	}
	return nil
}

// once notes a field that must be single.
func (r *Request) once(field seen, err *HTTPError) *HTTPError {
	if r.seen&field != 0 {
		return err
	}
	r.seen |= field
	return nil
}

// host reads the Host field (RFC 9112, section 3.2).
func (r *Request) host(value []byte) *HTTPError {
	if !isHost(value) {
		return errHost
	}
	if r.Host == nil {
		r.Host = value
	}
	return r.once(seenHost, errHost)
}

// key reads Sec-WebSocket-Key.
func (r *Request) key(value []byte) *HTTPError {
	const size, encoded = 16, 24
	var nonce [encoded / 4 * 3]byte
	if len(value) != encoded {
		return errKey
	}
	if n, err := base64.StdEncoding.Decode(nonce[:], value); err != nil || n != size {
		return errKey
	}
	r.Key = value
	return r.once(seenKey, errKey)
}

// authorization takes the token of a Bearer credential (RFC 6750). Other
// schemes are left to whoever asked for them, such as a proxy in front.
func (r *Request) authorization(value []byte) *HTTPError {
	if err := r.once(seenAuthorization, errFieldTwice); err != nil {
		return err
	}
	scheme, token, _ := bytes.Cut(value, []byte(" "))
	if !equalFold(scheme, "bearer") {
		return nil
	}
	r.setOnce(&r.Token, trim(token), errTokenTwice)
	return nil
}

// protocols reads one Sec-WebSocket-Protocol field, which has at least one
// element.
func (r *Request) protocols(value []byte) *HTTPError {
	var p []byte
	some := false
	for len(value) > 0 {
		if p, value = cutElement(value); len(p) == 0 {
			continue
		}
		if err := r.protocol(p); err != nil {
			return err
		}
		some = true
	}
	if !some {
		return errProtocolList
	}
	r.offered = true
	return nil
}

// protocol reads one subprotocol.
func (r *Request) protocol(p []byte) *HTTPError {
	if !isToken(p) {
		return errProtocolList
	}
	if token, ok := bytes.CutPrefix(p, []byte(tokenProtocol)); ok {
		r.setOnce(&r.Token, token, errTokenTwice)
	}
	if string(p) == Subprotocol {
		r.Subprotocol = Subprotocol
	}
	return nil
}
