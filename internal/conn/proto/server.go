package proto

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"pushd.example/internal/history"
)

// Codes of the error messages that a client gets; the connection goes on.
const (
	// codeBadJSON: a text message is not one JSON object.
	codeBadJSON = "bad_json"
	// codeUnknownType: "type" is missing or not a type of this protocol.
	codeUnknownType = "unknown_type"
	// CodeBadCursor: "cursor" is missing or not a cursor.
	CodeBadCursor = "bad_cursor"
	// CodeUnavailable: the history could not take it now; try again.
	CodeUnavailable = "unavailable"
)

// Hello is the first message on a connection.
type Hello struct {
	Connection string // names the connection in logs and in the API
	User       string
	Cursor     history.Cursor // where the messages that follow begin
	Unread     int
	Truncated  bool // retention dropped messages after the client's cursor
}

// AppendHello appends the frame of h.
func AppendHello(dst []byte, h Hello) []byte {
	dst, start := beginFrame(dst)
	dst = append(dst, `{"type":"hello","connection":`...)
	dst = appendString(dst, h.Connection)
	dst = append(dst, `,"user":`...)
	dst = appendString(dst, h.User)
	dst = append(dst, `,"cursor":"`...)
	dst = append(dst, h.Cursor.String()...)
	dst = append(dst, `","unread":`...)
	dst = strconv.AppendInt(dst, int64(h.Unread), 10)
	dst = append(dst, `,"truncated":`...)
	dst = strconv.AppendBool(dst, h.Truncated)
	dst = append(dst, '}')
	return endFrame(dst, start)
}

// messageTime is RFC 3339 with the milliseconds written out always.
const messageTime = "2006-01-02T15:04:05.000Z07:00"

// AppendMessage appends the frame of m. It holds nothing of the receiver, so
// that one frame serves them all. m.Data goes in byte for byte: it must be one
// JSON value in UTF-8, as the backends' door has checked.
func AppendMessage(dst []byte, m history.Message) []byte {
	dst, start := beginFrame(dst)
	dst = append(dst, `{"type":"message","id":"`...)
	dst = strconv.AppendUint(dst, uint64(m.ID), 10)
	dst = append(dst, `","log":"`...)
	dst = append(dst, m.Log()...)
	dst = append(dst, `","kind":"`...)
	dst = append(dst, m.Kind.String()...)
	dst = append(dst, `","time":"`...)
	dst = m.ID.Time().In(time.UTC).AppendFormat(dst, messageTime)
	dst = append(dst, '"')
	if m.CollapseKey != "" {
		dst = append(dst, `,"collapse_key":`...)
		dst = appendString(dst, m.CollapseKey)
	}
	dst = append(dst, `,"data":`...)
	dst = append(dst, m.Data...)
	dst = append(dst, '}')
	return endFrame(dst, start)
}

// AppendRecall appends the frame that takes a message back.
func AppendRecall(dst []byte, id history.ID, kind history.Kind) []byte {
	dst, start := beginFrame(dst)
	dst = append(dst, `{"type":"recall","id":"`...)
	dst = strconv.AppendUint(dst, uint64(id), 10)
	dst = append(dst, `","log":"`...)
	dst = append(dst, kind.Log()...)
	dst = append(dst, `"}`...)
	return endFrame(dst, start)
}

// AckedSize is room for the frame of AppendAcked.
const AckedSize = 96

// AppendAcked appends the frame that says where the user's read mark lies.
func AppendAcked(dst []byte, mark history.ReadMark) []byte {
	dst, start := beginFrame(dst)
	dst = append(dst, `{"type":"acked","cursor":"`...)
	dst = append(dst, mark.Cursor.String()...)
	dst = append(dst, `","unread":`...)
	dst = strconv.AppendInt(dst, int64(mark.Unread), 10)
	dst = append(dst, '}')
	return endFrame(dst, start)
}

// AppendPong appends the frame that answers a client's ping message. The pong
// of a ping frame is [AppendPongFrame]; browsers can send no ping frames.
func AppendPong(dst []byte) []byte {
	return AppendFrame(dst, Text, []byte(`{"type":"pong"}`))
}

// AppendError appends the frame of an error message; code is one of the Code
// constants, message is for people.
func AppendError(dst []byte, code, message string) []byte {
	dst, start := beginFrame(dst)
	dst = append(dst, `{"type":"error","code":`...)
	dst = appendString(dst, code)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, message)
	dst = append(dst, '}')
	return endFrame(dst, start)
}

// maxControl is the most bytes in a control frame's payload.
const maxControl = ws.MaxControlFramePayloadSize

// AppendCloseFrame appends a Close frame. The reason is cut, between two
// characters, to what fits (123 bytes). For closeNoStatus the frame is
// empty, so that a client's Close is answered by its own code.
func AppendCloseFrame(dst []byte, code uint16, reason string) []byte {
	if code == closeNoStatus {
		return AppendFrame(dst, Close, nil)
	}
	if most := maxControl - 2; len(reason) > most {
		for most > 0 && !utf8.RuneStart(reason[most]) {
			most--
		}
		reason = reason[:most]
	}
	dst = append(dst, fin|byte(Close), byte(2+len(reason)))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// AppendPingFrame appends a ping frame; payload is at most 125 bytes.
func AppendPingFrame(dst, payload []byte) []byte { return AppendFrame(dst, Ping, payload) }

// AppendPongFrame appends the answer to a ping frame with this payload.
func AppendPongFrame(dst, payload []byte) []byte { return AppendFrame(dst, Pong, payload) }

// AppendFrame appends a message in unmasked frames, see fragmentSize, or a
// control frame, whose payload is at most 125 bytes.
func AppendFrame(dst []byte, op Op, payload []byte) []byte {
	if len(payload) <= maxFrame {
		dst = appendHeader(dst, fin|byte(op), len(payload))
		return append(dst, payload...)
	}
	start := len(dst)
	dst = append(dst, payload...)
	return fragment(dst, start, byte(op))
}

// A message of up to maxFrame bytes goes out in one frame; a longer one in
// fragments, so that pings and Close frames can pass between them. Messages of
// the default -max-data stay whole for clients that know no fragments.
const (
	maxFrame     = 1 << 20
	fragmentSize = 64 << 10
)

// fin marks the last frame of a message (RFC 6455, section 5.2).
const fin = 0x80

// fragmentHeader is the length of the header of a full fragment.
const fragmentHeader = 10

// fragment makes dst[start:], a payload, fragments of a message; first is the
// first byte of the first one, without fin. The payload moves to the right by
// the headers, the last fragment first.
func fragment(dst []byte, start int, first byte) []byte {
	size := len(dst) - start
	last := (size - 1) / fragmentSize // its number, from 0
	tail := size - last*fragmentSize
	var header [fragmentHeader]byte
	h := appendHeader(header[:0], fin, tail)
	dst = slices.Grow(dst, last*fragmentHeader+len(h))[:len(dst)+last*fragmentHeader+len(h)]
	for i := last; i >= 0; i-- {
		n := fragmentSize
		switch {
		case i == last:
			n = tail
		case i == 0:
			h = appendHeader(header[:0], first, n)
		default:
			h = appendHeader(header[:0], 0, n)
		}
		from, to := start+i*fragmentSize, start+i*(fragmentSize+fragmentHeader)
		copy(dst[to+len(h):], dst[from:from+n])
		copy(dst[to:], h)
	}
	return dst
}

// FrameEnd returns where the frame that b[at] lies in ends in b, or at itself
// if a frame begins there. b holds whole unmasked frames, the first of them
// perhaps behind the response of AppendUpgrade, which is treated as a frame.
func FrameEnd(b []byte, at int) int {
	end := 0
	if bytes.HasPrefix(b, []byte(responseBegin)) {
		end = bytes.Index(b, []byte("\r\n\r\n")) + 4
	}
	for end < at {
		h, n, _ := decodeHeader(b[end:])
		if n == 0 {
			return len(b) // not a frame: nothing may come in between
		}
		end += n + int(h.Length)
	}
	return min(end, len(b))
}

// appendHeader appends the header of an unmasked frame; first is its first byte.
func appendHeader(dst []byte, first byte, size int) []byte {
	dst = append(dst, first)
	switch {
	case size < 126:
		return append(dst, byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(size))
}

// beginFrame leaves room for the header of a text frame whose length is not
// known yet: 4 bytes, as a payload of 126 to 65,535 bytes has.
func beginFrame(dst []byte) (grown []byte, start int) {
	return append(dst, 0, 0, 0, 0), len(dst)
}

// endFrame writes the header of the text frame begun at start. A payload of
// another size than foreseen is moved by the difference, and made fragments if
// it is longer than maxFrame.
func endFrame(dst []byte, start int) []byte {
	const foreseen = 4
	size := len(dst) - start - foreseen
	if size > maxFrame {
		copy(dst[start:], dst[start+foreseen:])
		return fragment(dst[:start+size], start, byte(Text))
	}
	var header [10]byte
	h := appendHeader(header[:0], fin|byte(Text), size)
	switch {
	case len(h) < foreseen:
		copy(dst[start+len(h):], dst[start+foreseen:])
		dst = dst[:start+len(h)+size]
	case len(h) > foreseen:
		dst = append(dst, header[:len(h)-foreseen]...)
		copy(dst[start+len(h):], dst[start+foreseen:start+foreseen+size])
	}
	copy(dst[start:], h)
	return dst
}
