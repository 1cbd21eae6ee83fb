// Package handler is the handler of the echo server, to be used by tests of
// the reactor too: it answers every message with the same message.
package handler

import (
	"time"

	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
)

type echo struct{ loop *reactor.Loop }

// New returns a handler for a loop's connections.
func New(l *reactor.Loop) reactor.Handler { return &echo{l} }

func (e *echo) Request(h reactor.Handle, r *proto.Request) {
	f := e.loop.NewFrame(256)
	f.B = proto.AppendUpgrade(f.B, r.Key, r.Subprotocol, r.Deflate)
	e.loop.Open(h, f, r.Deflate)
	e.loop.Drop(f)
}

func (e *echo) Message(h reactor.Handle, op proto.Op, payload []byte) {
	f := e.loop.NewFrame(len(payload) + 10)
	f.B = proto.AppendFrame(f.B, op, payload)
	f.Message = true
	e.loop.Send(h, f)
	e.loop.Drop(f)
}

func (e *echo) Adopt(reactor.Handle, any)       {}
func (e *echo) Drained(reactor.Handle)          {}
func (e *echo) Sweep(reactor.Handle, time.Time) {}
func (e *echo) Closed(reactor.Handle, bool)     {}
func (e *echo) Work() bool                      { return false }
func (e *echo) Idle() bool                      { return true }
func (e *echo) Stop()                           {}
