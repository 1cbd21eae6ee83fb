package proto

import (
	"net/http"
	"strconv"
)

// HTTPError is why a request did not become a WebSocket. The values below are
// shared: a caller that wants another message copies one.
type HTTPError struct {
	Status int
	// Code is one word for programs, Message a sentence for people.
	Code    string
	Message string
	// Header holds further field lines, each ended by CRLF.
	Header string
}

// Error returns the message.
func (e *HTTPError) Error() string { return e.Message }

// Refusals that only the caller can decide on.
var (
	ErrHeadTooLarge    = &HTTPError{http.StatusRequestHeaderFieldsTooLarge, "head_too_large", "the request's head is too large", ""}
	ErrHandshakeSlow   = &HTTPError{http.StatusRequestTimeout, "timeout", "the request did not arrive in time", ""}
	ErrUnauthenticated = &HTTPError{http.StatusUnauthorized, "unauthenticated", "a valid client token is needed", "WWW-Authenticate: Bearer\r\n"}
	ErrBadUser         = &HTTPError{http.StatusBadRequest, "bad_user", "user: want 1 to 128 bytes of UTF-8", ""}
	ErrBadCursor       = &HTTPError{http.StatusBadRequest, "bad_cursor", "cursor: want the cursor of a hello, the two last ids joined to one, \"0\" or \"ack\"", ""}
	ErrOrigin          = &HTTPError{http.StatusForbidden, "bad_origin", "this origin may not connect", ""}
	ErrRefused         = &HTTPError{http.StatusForbidden, "refused", "the backend does not let this user connect for now", ""}
	ErrCrowd           = &HTTPError{http.StatusTooManyRequests, "too_many_connections", "this user has as many connections as one may have", ""}
	ErrBusy            = &HTTPError{http.StatusServiceUnavailable, "unavailable", "no more connections can be taken now", ""}
)

const (
	upgradeFields = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	versionField  = "Sec-WebSocket-Version: 13\r\n"
)

// Refusals that Request.Parse decides on.
var (
	errRequestLine  = badRequest("malformed request line")
	errHTTPVersion  = &HTTPError{http.StatusHTTPVersionNotSupported, "http_version", "HTTP/1.1 is needed", ""}
	errPath         = &HTTPError{http.StatusNotFound, "not_found", "nothing is served at this path", ""}
	errMethod       = &HTTPError{http.StatusMethodNotAllowed, "method_not_allowed", "only GET is allowed here", "Allow: GET\r\n"}
	errLineEnd      = badRequest("the lines of the request must end in CRLF, not in LF alone")
	errFieldLine    = badRequest("malformed header field")
	errQuery        = badRequest("malformed percent-encoding in the query")
	errQueryTwice   = badRequest("user and cursor may be given once only")
	errBody         = badRequest("a WebSocket request has no body")
	errHost         = badRequest("exactly one valid Host field is needed")
	errFieldTwice   = badRequest("a field that must be single is repeated")
	errUpgrade      = &HTTPError{http.StatusUpgradeRequired, "upgrade_required", "this is a WebSocket endpoint: send Upgrade: websocket and Connection: Upgrade", upgradeFields + versionField}
	errVersion      = &HTTPError{http.StatusUpgradeRequired, "upgrade_required", "Sec-WebSocket-Version must be 13", upgradeFields + versionField}
	errKey          = badRequest("exactly one Sec-WebSocket-Key of 16 bytes in base64 is needed")
	errTokenTwice   = badRequest("the token may be given in one way only")
	errProtocolList = badRequest("malformed Sec-WebSocket-Protocol")
	errExtensions   = badRequest("malformed Sec-WebSocket-Extensions")
	errSubprotocol  = badRequest("none of the subprotocols offered is spoken here, only " + Subprotocol)
)

// badRequest returns a refusal with status 400.
func badRequest(message string) *HTTPError {
	return &HTTPError{http.StatusBadRequest, "bad_request", message, ""}
}

// AppendHTTPError appends the whole response for e, after which the
// connection is to be closed. retryAfter, in seconds, is told to the client
// unless it is 0.
func AppendHTTPError(dst []byte, e *HTTPError, retryAfter int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(e.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(e.Status)...)
	dst = append(dst, "\r\nContent-Type: application/json\r\nConnection: close\r\n"...)
	dst = append(dst, e.Header...)
	if retryAfter > 0 {
		dst = append(dst, "Retry-After: "...)
		dst = strconv.AppendInt(dst, int64(retryAfter), 10)
		dst = append(dst, "\r\n"...)
	}
	// Built twice, because its length has to stand before it.
	size := len(appendErrorBody(dst, e)) - len(dst)
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(size), 10)
	dst = append(dst, "\r\n\r\n"...)
	return appendErrorBody(dst, e)
}

// appendErrorBody appends e as JSON.
func appendErrorBody(dst []byte, e *HTTPError) []byte {
	dst = append(dst, `{"code":`...)
	dst = appendString(dst, e.Code)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	return append(dst, "}\n"...)
}
