package proto

// Close codes of RFC 6455, section 7.4.1, that the server sends.
const (
	// closeNormal answers a client that closes without trouble.
	closeNormal uint16 = 1000
	// closeProtocol: the client broke RFC 6455.
	closeProtocol uint16 = 1002
	// CloseUnsupported: a binary message; the protocol speaks JSON text only.
	CloseUnsupported uint16 = 1003
	// closeNoStatus never goes over the wire: it is the code of a Close frame
	// that names none.
	closeNoStatus uint16 = 1005
	// closeInvalid: a text message or a close reason is not UTF-8, or a
	// compressed message cannot be decompressed.
	closeInvalid uint16 = 1007
	// CloseTooBig: a message over [Limits]. The client may come back; the
	// same message would close it again.
	CloseTooBig uint16 = 1009
	// CloseInternal: a defect of the server met while serving this connection.
	CloseInternal uint16 = 1011
)

// Close codes of pushd. The hundreds say what the client does next, so that a
// client knows what to make of a code that is newer than itself.
const (
	// 4000 to 4099: stop. The same attempt would fail again.

	// CloseTokenExpired: the client's token ended, or a page came without a
	// valid one. Come back with a new one.
	CloseTokenExpired uint16 = 4001
	// CloseDisconnected: the backend ended the connection; the reason is its
	// own words.
	CloseDisconnected uint16 = 4002
	// closeForbidden: the page's origin, or the user, may not connect.
	closeForbidden uint16 = 4003
	// closeBadRequest: a page asked for what cannot be, such as a bad cursor.
	closeBadRequest uint16 = 4004
	// closeTooManyConnections: the user has as many as one may have.
	closeTooManyConnections uint16 = 4029

	// 4100 to 4199: wait a little longer each time, then reconnect with the
	// cursor.

	// CloseTooSlow: the client read more slowly than messages came, or did not
	// finish a message of its own. The messages that it missed are in its history.
	CloseTooSlow uint16 = 4100
	// CloseTooManyMessages: the client sent more messages than it may, or all
	// clients together had begun more than there is room for.
	CloseTooManyMessages uint16 = 4101
	// CloseNoPong: nothing was heard from the client for too long, not even
	// the answer to a ping.
	CloseNoPong uint16 = 4102

	// 4200 to 4299: reconnect now, with the cursor, or when the reason says.

	// CloseGoingAway: the server shuts down; another one, or its successor,
	// takes the connection.
	CloseGoingAway uint16 = 4200
	// closeComeBack: no more connections can be taken now. The reason says in
	// how many seconds to come back.
	closeComeBack uint16 = 4203
)

// validCloseCode reports whether a Close frame may carry code: the registered
// ones (RFC 6455, section 7.4.1, and IANA's registry for 1012 to 1014), those
// of libraries (3000 to 3999) and of applications (4000 to 4999). 1005, 1006
// and 1015 exist, but never on the wire.
func validCloseCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}
