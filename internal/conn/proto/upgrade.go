package proto

import (
	"crypto/sha1"
	"encoding/base64"
)

// responseBegin begins a response. No frame of ours begins like it: as a frame it
// would be a Close that is not final and has a reserved bit set.
const responseBegin = "HTTP/1.1"

// AppendUpgrade appends the response that makes the connection a WebSocket
// (RFC 6455, section 4.2.2). key, subprotocol and deflate are those of a
// Request that Parse accepted; an empty subprotocol selects none, and a zero
// deflate declines.
func AppendUpgrade(dst, key []byte, subprotocol string, deflate Deflate) []byte {
	dst = append(dst, responseBegin+" 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = appendAccept(dst, key)
	if subprotocol != "" {
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, subprotocol...)
	}
	dst = deflate.append(dst)
	return append(dst, "\r\n\r\n"...)
}

// appendAccept appends the proof that key was read by a WebSocket server.
func appendAccept(dst, key []byte) []byte {
	const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	var buf [64]byte // 24 + 36 bytes
	sum := sha1.Sum(append(append(buf[:0], key...), magic...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}
