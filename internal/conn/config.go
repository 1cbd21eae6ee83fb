package conn

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pushd.example/internal/auth"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// Config is what a [Server] needs. Listen, Store and Auth must be set; of the
// rest the zero value takes the default.
type Config struct {
	// Listen is the address that clients connect to, "host:port". Port 0 takes
	// a free one, which Addr tells.
	Listen string
	// Path is where the WebSocket is. Default "/push".
	Path string
	// Node names this process in the log.
	Node string

	// Store is where messages come from. The server is its only follower.
	Store history.Store
	// Messages, if set, is told once a second what was delivered, for receipts
	// and for events.
	Messages history.Messages
	// Auth checks client tokens.
	Auth Authenticator
	// Origins are the web pages that may connect. Default: those of the host
	// that they connect to.
	Origins auth.Origins

	// PlainSends sends to one socket a system call, even where the kernel takes
	// many by io_uring.
	PlainSends bool
	// Compression agrees to permessage-deflate with clients that offer it.
	// Live messages of CompressionMin bytes or more (default 512) are then
	// compressed for them, once each. What goes to one connection only, such as
	// pages of history, is not: a crowd that reconnects would have the loops
	// compress the same for everybody.
	Compression    bool
	CompressionMin int
	// Limits bound connections, handshakes, messages and backlogs.
	Limits reactor.Limits

	// MaxPerUser is how many connections a user may have at once, on all nodes
	// together; who comes to more is answered 429. 0: no bound.
	MaxPerUser int

	// StoreWorkers is how many calls of the store run at once for connections:
	// attaching, reading pages, acks. Default 32.
	StoreWorkers int
	// StoreQueue is how many such calls may wait; when more do, a handshake is
	// answered 503, an ack "unavailable". Default 4,096.
	StoreQueue int
	// StoreTimeout bounds one such call. Default 10 s.
	StoreTimeout time.Duration
	// DeliveryQueueBytes bounds the messages that wait for one loop, each
	// counted with 64 bytes more than it has. When it is full, appends to the
	// store wait. Default 8 MiB.
	DeliveryQueueBytes int

	// Log; nil discards.
	Log *slog.Logger
	// Metrics; nil means none.
	Metrics prometheus.Registerer
}

// Authenticator checks what a client shows. It is called on a loop, so it must
// not wait for anything.
type Authenticator interface {
	// Client returns who the holder of token is; user is who the client says
	// it is, or "".
	Client(token, user string) (auth.Caller, error)
}

func (c Config) withDefaults() (Config, error) {
	or(&c.Path, "/push")
	or(&c.StoreWorkers, 32)
	or(&c.StoreQueue, 4096)
	or(&c.StoreTimeout, 10*time.Second)
	or(&c.DeliveryQueueBytes, 8<<20)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Node != "" {
		c.Log = c.Log.With("node", c.Node)
	}
	switch {
	case c.Listen == "":
		return c, errors.New("config: Listen is missing")
	case c.Path[0] != '/':
		return c, errors.New("config: Path must begin with a slash")
	case c.Store == nil:
		return c, errors.New("config: Store is missing")
	case c.Auth == nil:
		return c, errors.New("config: Auth is missing")
	case c.MaxPerUser < 0:
		return c, errors.New("config: MaxPerUser must not be negative")
	case c.StoreWorkers < 1, c.StoreQueue < 1, c.StoreTimeout < 0, c.DeliveryQueueBytes < 1:
		return c, errors.New("config: StoreWorkers, StoreQueue, StoreTimeout and DeliveryQueueBytes must not be negative")
	}
	return c, nil
}

// or sets *v to def if it is zero.
func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
