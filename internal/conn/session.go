package conn

import (
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
)

// attached opens the connection that the store has attached, unless it is one
// too many.
func (s *shard) attached(ses *session, k *call) {
	switch {
	case k.err != nil:
		s.forget(ses)
		s.loop.Refuse(k.h, refusal(k.err))
	case s.server.crowded(k.attachment):
		s.forget(ses)
		s.server.calls.detach(k.user)
		s.loop.Refuse(k.h, proto.ErrCrowd)
	default:
		s.replay.begin(ses, k)
	}
}

// Message implements [reactor.Handler].
func (s *shard) Message(h reactor.Handle, op proto.Op, payload []byte) {
	ses := s.lookup(h)
	if ses == nil {
		return
	}
	if op != proto.Text {
		s.loop.Close(h, reactor.Unsupported, proto.CloseUnsupported, "only text messages are understood")
		return
	}
	var m proto.ClientMessage
	if err := proto.ParseClient(payload, &m); err != nil {
		s.complain(h, err.Code, err.Message)
		return
	}
	switch m.Type {
	case proto.ClientPing:
		f := s.loop.NewFrame(32)
		f.B = proto.AppendPong(f.B)
		s.reply(h, f)
	case proto.ClientAck:
		k := &call{kind: ack, shard: s, h: h, user: string(s.sessions.user(ses)), cursor: m.Cursor}
		if !s.server.calls.submit(k) {
			s.complain(h, proto.CodeUnavailable, "too much is going on: ack again later")
		}
	}
}

// acked tells the client where the read mark lies now.
func (s *shard) acked(k *call) {
	if k.err != nil {
		e := complaint(k.err)
		s.complain(k.h, e.Code, e.Message)
		return
	}
	s.count.Acks++
	s.sendMark(k)
}

// sendMark sends the client the read mark that the store has told.
func (s *shard) sendMark(k *call) {
	f := s.loop.NewFrame(proto.AckedSize)
	f.B = proto.AppendAcked(f.B, k.mark)
	s.reply(k.h, f)
}
