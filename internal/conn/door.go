package conn

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"pushd.example/internal/auth"
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// door lets a shard's clients in. It belongs to the loop.
type door struct {
	*core
	refused refused
}

// handshake is a client between its request and its attachment.
type handshake struct {
	user        string
	hash        uint32
	start       history.Start
	expires     time.Time // zero: never
	key         [24]byte  // Sec-WebSocket-Key
	subprotocol string
	agent       string // what the client calls itself
	deflate     proto.Deflate
}

// Request implements [reactor.Handler]: it lets the client in or not, and
// sends it to the shard where its user's other connections are, so that one
// delivery wakes one loop.
func (d *door) Request(h reactor.Handle, r *proto.Request) {
	v, err := d.admit(r)
	if err != nil {
		d.loop.Refuse(h, err)
		return
	}
	to, hash := d.server.shardOf(v.user)
	v.hash = hash
	d.loop.Admit(h, to.loop, v)
}

// admit checks who asks, and for what.
func (d *door) admit(r *proto.Request) (*handshake, *proto.HTTPError) {
	cfg := &d.server.cfg
	if len(r.Origin) > 0 && !cfg.Origins.Allowed(string(r.Origin), string(r.Host)) {
		return nil, proto.ErrOrigin
	}
	caller, err := cfg.Auth.Client(string(r.Token), string(r.User))
	if err != nil {
		return nil, unauthenticated(err)
	}
	if err := history.CheckUser(caller.User); err != nil {
		return nil, proto.ErrBadUser
	}
	v := &handshake{user: caller.User, expires: caller.Expires, subprotocol: r.Subprotocol, agent: agentOf(r.UserAgent), deflate: r.Deflate}
	copy(v.key[:], r.Key)
	v.start = history.Start{Limit: pageMessages, MaxBytes: pageBytes}
	switch string(r.Cursor) {
	case "":
		v.start.At = history.StartNow
	case "ack":
		v.start.At = history.StartUnread
	default:
		v.start.At = history.StartAfter
		if v.start.Cursor, err = history.ParseCursor(string(r.Cursor)); err != nil {
			return nil, proto.ErrBadCursor
		}
	}
	return v, nil
}

// unauthenticated says what is wrong with a credential; the auth package's
// errors never repeat it.
func unauthenticated(err error) *proto.HTTPError {
	e := *proto.ErrUnauthenticated
	for _, known := range []error{auth.ErrNoCredential, auth.ErrBadCredential, auth.ErrExpired} {
		if errors.Is(err, known) {
			e.Message = err.Error()
		}
	}
	return &e
}

// Adopt implements [reactor.Handler]. The session is in the user's list before
// the store is asked to attach it: what is appended from then on finds it, and
// makes it look for what the answer does not have.
func (s *shard) Adopt(h reactor.Handle, x any) {
	v := x.(*handshake)
	if left := s.refused.left(v.user, s.loop.Now()); left > 0 {
		s.loop.RefuseFor(h, proto.ErrRefused, left)
		return
	}
	ses := s.sessions.add(h, v.user, v.hash, v.agent)
	ses.expires = unixSeconds(v.expires)
	if !s.server.calls.submit(&call{kind: attach, shard: s, h: h, user: v.user, handshake: v}) {
		s.forget(ses)
		s.loop.Refuse(h, proto.ErrBusy)
	}
}

// unixSeconds returns when t is, rounded up to seconds, or 0 if that is never.
func unixSeconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	n := t.Unix()
	if t.Nanosecond() > 0 {
		n++
	}
	return uint32(max(1, min(n, math.MaxUint32)))
}

// crowded reports whether a is one connection of its user too many.
func (s *Server) crowded(a history.Attachment) bool {
	return s.cfg.MaxPerUser > 0 && a.Connections > s.cfg.MaxPerUser
}

// refusal turns an error of Attach into a response.
func refusal(err error) *proto.HTTPError {
	switch {
	case errors.Is(err, history.ErrUser):
		return proto.ErrBadUser
	case errors.Is(err, history.ErrCursor):
		return proto.ErrBadCursor
	}
	return proto.ErrBusy
}

// complaint turns an error of Ack into a message.
func complaint(err error) *proto.ClientError {
	if errors.Is(err, history.ErrCursor) {
		return &proto.ClientError{Code: proto.CodeBadCursor, Message: err.Error()}
	}
	return &proto.ClientError{Code: proto.CodeUnavailable, Message: "the read mark could not be moved: ack again later"}
}

// connectionID names a connection as no other of this node is named.
func (s *Server) connectionID(h reactor.Handle) string {
	return s.idPrefix + strconv.FormatUint(uint64(h), 36)
}

// connectionNamed undoes connectionID; 0 if it gave no such name. Whether the
// connection is there is another question.
func (s *Server) connectionNamed(id string) reactor.Handle {
	digits, ours := strings.CutPrefix(id, s.idPrefix)
	if !ours {
		return 0
	}
	h, _ := strconv.ParseUint(digits, 36, 64)
	return reactor.Handle(h)
}
