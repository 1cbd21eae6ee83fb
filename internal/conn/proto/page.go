package proto

import "strconv"

// Page is a browser page that asks to connect. The code in a page cannot see the
// status of a refusal, nor its body: for it, a refused handshake is close code
// 1006, as a broken network is. So a page is answered with a WebSocket that is
// closed at once, with a code that says why.
type Page struct {
	Origin      string
	key         [24]byte
	subprotocol string
}

// Page returns the page that a request comes from, or nil if it comes from none
// or is no complete handshake.
func (r *Request) Page() *Page {
	if !r.whole || len(r.Origin) == 0 {
		return nil
	}
	p := &Page{Origin: string(r.Origin), subprotocol: r.Subprotocol}
	copy(p.key[:], r.Key)
	return p
}

// closeCode returns the close code that stands for a refusal with e, or 0 if
// there is none.
func closeCode(e *HTTPError) uint16 {
	switch e.Status {
	case ErrBadUser.Status:
		return closeBadRequest
	case ErrUnauthenticated.Status:
		return CloseTokenExpired
	case ErrOrigin.Status:
		return closeForbidden
	case ErrCrowd.Status:
		return closeTooManyConnections
	case ErrBusy.Status:
		return closeComeBack
	}
	return 0
}

// AppendPageRefusal appends what a page is refused with: the response that makes
// the connection a WebSocket, and a Close frame. Its reason is a JSON object,
// {"code":"unavailable","message":"…","retry_after":7}: code and message are e's,
// and retry_after, in seconds, is left out if it is 0. The message is left out
// where the reason would be longer than a Close frame can carry. It reports false
// if e has no close code.
func AppendPageRefusal(dst []byte, p *Page, e *HTTPError, retryAfter int) ([]byte, bool) {
	code := closeCode(e)
	if code == 0 {
		return dst, false
	}
	reason := appendReason(nil, e.Code, e.Message, retryAfter)
	if len(reason) > maxControl-2 {
		reason = appendReason(nil, e.Code, "", retryAfter)
	}
	dst = AppendUpgrade(dst, p.key[:], p.subprotocol, Deflate{})
	return AppendCloseFrame(dst, code, string(reason)), true
}

func appendReason(dst []byte, code, message string, retryAfter int) []byte {
	dst = append(dst, `{"code":`...)
	dst = appendString(dst, code)
	if message != "" {
		dst = append(dst, `,"message":`...)
		dst = appendString(dst, message)
	}
	if retryAfter > 0 {
		dst = append(dst, `,"retry_after":`...)
		dst = strconv.AppendInt(dst, int64(retryAfter), 10)
	}
	return append(dst, '}')
}
