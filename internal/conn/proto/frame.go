package proto

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Op is what an [Event] is; the numbers are RFC 6455's opcodes.
type Op uint8

const (
	None   Op = Op(ws.OpContinuation) // nothing complete yet
	Text   Op = Op(ws.OpText)
	Binary Op = Op(ws.OpBinary)
	Close  Op = Op(ws.OpClose)
	Ping   Op = Op(ws.OpPing)
	Pong   Op = Op(ws.OpPong)

	// ended takes the place of State.op after a Close frame or an error.
	ended Op = 0xFF
)

// Event is what a client sent: a whole message or a control frame.
type Event struct {
	Op Op
	// Deflated: the payload is compressed; see [Inflater].
	Deflated bool
	// Code of a Close; closeNoStatus if it names none.
	Code uint16
	// Payload is unmasked; of a Close it is the reason. It is a view into the
	// buffer given to Next, good until the next call.
	Payload []byte
}

// Limits bound one message.
type Limits struct {
	// MaxMessage is the most bytes in a message, all fragments together; at
	// most 1<<31 - 1.
	MaxMessage int
	// MaxFragments is the most frames that a message comes in. From 65,536 on
	// there is no bound.
	MaxFragments int
	// Deflate: compression was negotiated, so a message may be compressed.
	// MaxMessage then bounds what it inflates to; on the wire it may
	// be longer by as much as a compressor makes of what it cannot compress.
	Deflate bool
}

// wire is the most bytes of a message on the wire.
func (l *Limits) wire(deflated bool) int64 {
	most := int64(l.MaxMessage)
	if deflated {
		// zlib's own bound for the smallest of its windows and memories:
		// https://github.com/madler/zlib, deflate.c, deflateBound.
		most += most/8 + most/64 + 64
	}
	return most
}

// State decodes the frames of one client. The zero State stands before the
// first frame. It is 16 bytes without pointers and can be copied.
type State struct {
	assembled uint32 // bytes of the fragmented message in progress
	done      uint32 // payload bytes of the incomplete frame, unmasked and checked
	fragments uint16 // of the message in progress
	op        Op     // of the message in progress; None if there is none
	text      textState
	deflated  bool // the message in progress is compressed
}

// Next decodes one event. The buffer holds
//
//	buf[:s.Assembled()]    fragments of a message that is not complete,
//	buf[off:]              what was received after them,
//
// off being at least s.Assembled(), so the first call on a fresh State has off
// 0. Next returns where to go on: the next call takes the same buf and that
// off. Payloads are unmasked where they lie and fragments moved together at
// the front of buf; a message in one frame is never copied.
//
// When the event is [None], the caller gets more bytes behind buf[off:] or
// moves what [State.Keep] returns elsewhere. That is never more than a message
// as long as lim allows and a control frame, whatever lengths were declared: a
// message over a limit is refused as soon as its header is there.
//
// After a Close event or an error the State swallows all that follows.
func (s *State) Next(buf []byte, off int, lim Limits) (Event, int, *CloseError) {
	for s.op != ended {
		ev, n, err := s.frame(buf, off, lim)
		if err != nil {
			*s = State{op: ended}
			return Event{}, len(buf), err
		}
		off += n
		if ev.Op != None || n == 0 {
			return ev, off, nil
		}
	}
	return Event{}, len(buf), nil
}

// Assembled returns how many bytes at the front of the buffer belong to a
// fragmented message in progress.
func (s *State) Assembled() int { return int(s.assembled) }

// Keep returns the parts of buf that a later Next needs after one that
// returned [None] and off. They may be joined in any buffer, buf itself
// included; the next off is then s.Assembled(), the length of the first part.
func (s *State) Keep(buf []byte, off int) (assembled, raw []byte) {
	return buf[:s.assembled], buf[off:]
}

// frame takes the frame at buf[off:] in and returns its length, which is 0
// while it is not complete. There is no event if it is a fragment.
func (s *State) frame(buf []byte, off int, lim Limits) (Event, int, *CloseError) {
	h, n, err := decodeHeader(buf[off:])
	if err != nil || n == 0 {
		return Event{}, 0, err
	}
	if err := s.check(h, lim); err != nil {
		return Event{}, 0, err
	}
	body := buf[off+n:]
	whole := int64(len(body)) >= h.Length
	if whole {
		body = body[:h.Length]
	}
	fresh := body[s.done:]
	ws.Cipher(fresh, h.Mask, int(s.done))
	if s.isText(h) && !s.text.feed(fresh) {
		return Event{}, 0, errText
	}
	if !whole {
		s.done = uint32(len(body))
		return Event{}, 0, nil
	}
	s.done = 0
	ev, err := s.payload(buf, body, h)
	return ev, n + len(body), err
}

// check says whether a frame with header h may come now.
func (s *State) check(h ws.Header, lim Limits) *CloseError {
	state := ws.StateServerSide
	if s.op != None {
		state = state.Set(ws.StateFragmented)
	}
	deflated := s.deflated
	if lim.Deflate && beginsDeflated(h) {
		deflated, h.Rsv = true, 0
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return headerError(err)
	}
	if h.OpCode.IsControl() {
		return nil
	}
	if h.Length > lim.wire(deflated)-int64(s.assembled) {
		return errTooBig
	}
	if int(s.fragments)+1 > lim.MaxFragments {
		return errFragments
	}
	return nil
}

// beginsDeflated reports whether a frame is the first of a compressed message.
func beginsDeflated(h ws.Header) bool {
	return h.Rsv == rsv1 && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary)
}

// isText reports whether a frame carries text as it is.
func (s *State) isText(h ws.Header) bool {
	return h.OpCode == ws.OpText && h.Rsv == 0 || h.OpCode == ws.OpContinuation && s.op == Text && !s.deflated
}

// payload takes a complete payload in and returns what became complete by it.
func (s *State) payload(buf, body []byte, h ws.Header) (Event, *CloseError) {
	switch {
	case h.OpCode == ws.OpClose:
		return s.closing(body)
	case h.OpCode.IsControl():
		return Event{Op: Op(h.OpCode), Payload: body}, nil
	case h.Fin && s.text != textWhole:
		return Event{}, errText
	case h.Fin && s.op == None:
		return Event{Op: Op(h.OpCode), Payload: body, Deflated: beginsDeflated(h)}, nil
	}
	if s.op == None {
		s.op, s.deflated = Op(h.OpCode), beginsDeflated(h)
	}
	s.assembled += uint32(copy(buf[s.assembled:], body))
	if s.fragments < 1<<16-1 {
		s.fragments++
	}
	if !h.Fin {
		return Event{}, nil
	}
	ev := Event{Op: s.op, Payload: buf[:s.assembled], Deflated: s.deflated}
	*s = State{}
	return ev, nil
}

// closing reads the payload of a Close frame (RFC 6455, section 5.5.1).
func (s *State) closing(body []byte) (Event, *CloseError) {
	ev := Event{Op: Close, Code: closeNoStatus}
	switch len(body) {
	case 0:
	case 1:
		return Event{}, errCloseSize
	default:
		ev.Code, ev.Payload = binary.BigEndian.Uint16(body), body[2:]
		if !validCloseCode(ev.Code) {
			return Event{}, errCloseCode
		}
		if !utf8.Valid(ev.Payload) {
			return Event{}, errCloseText
		}
	}
	*s = State{op: ended}
	return ev, nil
}

// decodeHeader reads a frame's header and its length; 0 while it is not
// complete. It judges nothing but the length's form (RFC 6455, section 5.2).
func decodeHeader(p []byte) (h ws.Header, n int, err *CloseError) {
	if len(p) < 2 {
		return h, 0, nil
	}
	h = ws.Header{
		Fin:    p[0]&0x80 != 0,
		Rsv:    p[0] >> 4 & 7,
		OpCode: ws.OpCode(p[0] & 0x0F),
		Masked: p[1]&0x80 != 0,
	}
	n = headerLen(p[1])
	if len(p) < n {
		return h, 0, nil
	}
	switch size := p[1] & 0x7F; size {
	case 126:
		h.Length = int64(binary.BigEndian.Uint16(p[2:]))
		if h.Length < 126 {
			return h, n, errLength
		}
	case 127:
		h.Length = int64(binary.BigEndian.Uint64(p[2:]))
		if h.Length < 1<<16 { // negative: the top bit is set
			return h, n, errLength
		}
	default:
		h.Length = int64(size)
	}
	if h.Masked {
		copy(h.Mask[:], p[n-4:n])
	}
	return h, n, nil
}

// headerLen returns the length of a header whose second byte is b.
func headerLen(b byte) int {
	n := 2
	switch b & 0x7F {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if b&0x80 != 0 {
		n += 4
	}
	return n
}
