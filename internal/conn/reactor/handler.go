package reactor

import (
	"time"

	"pushd.example/internal/conn/proto"
)

// Handler is what the connections of one loop are for. All its methods run on
// the loop's goroutine, one at a time, and must not wait for anything. A panic
// in one is recovered, counted, and costs the connection that it was about.
type Handler interface {
	// Request gets a request that fulfils RFC 6455. The handler answers, at
	// once or later, with Open, Refuse or Admit; only Admit paces requests. r
	// is valid until that call, and until Request returns.
	Request(h Handle, r *proto.Request)

	// Adopt gets a connection that Admit let in, perhaps on another loop, still to be
	// answered.
	Adopt(h Handle, v any)

	// Message gets a whole text or binary message. The payload is the loop's
	// again when Message returns.
	Message(h Handle, op proto.Op, payload []byte)

	// Drained is called once after NotifyDrained, as soon as the kernel has
	// taken all that was sent.
	Drained(h Handle)

	// Sweep is called for each open connection eight times in a PingInterval.
	Sweep(h Handle, now time.Time)

	// Closed ends what Request or Adopt began, unless Refuse or Admit did: the
	// connection is closing or gone. There is exactly one such end. taken: the
	// kernel has taken all that was sent.
	Closed(h Handle, taken bool)

	// Work does what other goroutines asked for, and is called in every turn.
	// It reports whether it has left some for the next.
	Work() (more bool)

	// Idle reports whether Work has nothing to do. It is asked before the loop
	// goes to sleep; a goroutine that gives it work after that calls Loop.Wake.
	Idle() bool

	// Stop is the last call, when the loop's connections are all gone.
	Stop()
}
