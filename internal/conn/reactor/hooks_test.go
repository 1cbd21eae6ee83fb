package reactor_test

import (
	"time"

	"pushd.example/internal/conn/echo/handler"
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
)

// hooks is the echo handler with a say in what happens.
type hooks struct {
	reactor.Handler
	loop    *reactor.Loop
	admits  bool // requests are let in by Admit, as pushd does
	message func(l *reactor.Loop, h reactor.Handle, payload []byte) (echo bool)
	request func(h reactor.Handle)
	closed  func(h reactor.Handle)
	sweep   func(h reactor.Handle)
}

// newHooks returns what makes a handler; set sets its hooks, if not nil.
func newHooks(set func(*hooks)) func(*reactor.Loop) reactor.Handler {
	return func(l *reactor.Loop) reactor.Handler {
		h := &hooks{Handler: handler.New(l), loop: l}
		if set != nil {
			set(h)
		}
		return h
	}
}

// admitting makes handlers that let requests in by Admit.
func admitting() func(*reactor.Loop) reactor.Handler {
	return newHooks(func(h *hooks) { h.admits = true })
}

func (k *hooks) Request(h reactor.Handle, r *proto.Request) {
	if k.request != nil {
		k.request(h)
	}
	if k.admits {
		k.loop.Admit(h, k.loop, string(r.Key))
		return
	}
	k.Handler.Request(h, r)
}

func (k *hooks) Adopt(h reactor.Handle, v any) {
	k.Handler.Request(h, &proto.Request{Key: []byte(v.(string))})
}

func (k *hooks) Message(h reactor.Handle, op proto.Op, payload []byte) {
	if k.message == nil || k.message(k.loop, h, payload) {
		k.Handler.Message(h, op, payload)
	}
}

func (k *hooks) Closed(h reactor.Handle, _ bool) {
	if k.closed != nil {
		k.closed(h)
	}
}

func (k *hooks) Sweep(h reactor.Handle, _ time.Time) {
	if k.sweep != nil {
		k.sweep(h)
	}
}
