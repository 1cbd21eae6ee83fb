package reactor

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"time"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/proto"
)

// Config says what is served, and where.
type Config struct {
	// Listen is the address to bind, "host:port"; port 0 takes a free one.
	Listen string
	// Path is where WebSockets are served. Default "/".
	Path string
	// Handler makes the handler of one loop. It is called in New.
	Handler func(*Loop) Handler
	// PlainSends sends to one socket a system call even where the system could
	// do better.
	PlainSends bool
	// Compression agrees to permessage-deflate (RFC 7692) with clients that
	// offer it, and sends them what is marked as a message compressed.
	Compression bool
	// CompressionMin is the least bytes of a message that is compressed, its
	// header counted. Default 512: shorter ones hardly get any shorter.
	CompressionMin int
	// Limits bound what clients may take.
	Limits
	// Log; nil discards.
	Log *slog.Logger
}

// Limits bound what clients may take; the zero value of each field takes its
// default.
type Limits struct {
	// Loops is how many loops share the connections. Default: one a CPU.
	Loops int

	// MaxConnections bounds the connections of the process, those in the
	// handshake and those closing included; more are answered 503. Default:
	// the limit on open files less a reserve of an eighth of it (at most
	// 1,024) for everything else; and at most 4,194,304.
	MaxConnections int
	// MaxPerIP bounds the connections from one address; more are answered 503.
	// Default 0: no bound. Not for use behind a proxy, whose address all
	// clients share.
	MaxPerIP int
	// UpgradeRate bounds the handshakes a second. Only a complete request
	// that the handler lets in counts (see Loop.Admit), so that half a request
	// or a refused one takes nothing from others. Those that come faster wait
	// for their turn; when UpgradeQueue of them wait, more are answered 503 and
	// told to come back at this rate, one after the other, within half a
	// minute. Default 1,000 for each CPU; negative means no bound.
	UpgradeRate float64
	// UpgradeQueue is how many handshakes may wait for their turn; those of an
	// address that takes more than a quarter of the rate have half of it.
	// Default: as many as come in two seconds.
	UpgradeQueue int
	// UpgradeRatePerIP bounds the handshakes a second from one address, which
	// may use a second's worth of it at once; more are answered 503. Default 0:
	// no bound. Not for use behind a proxy, whose address all clients share.
	UpgradeRatePerIP float64

	// HandshakeTimeout bounds the time from accept to the complete request. A
	// client that sends nothing is accepted only after Socket.DeferAccept, and
	// has that much more time. Default 10 s.
	HandshakeTimeout time.Duration
	// MaxHeads bounds the requests that are kept while incomplete, 8 KiB each
	// at most. When there are more, the oldest is answered 503. Default 1,024.
	MaxHeads int
	// CloseTimeout bounds the closing handshake, from when the client last took
	// bytes of what was sent before the Close frame. Default 2 s.
	CloseTimeout time.Duration
	// PingInterval is how long a client may be silent before it is sent a
	// ping, and then how long it has to answer. A client that something waits
	// for is closed when it has taken nothing for twice as long. Default 30 s.
	PingInterval time.Duration

	// MaxMessage is the most bytes in a client's message. Default 64 KiB.
	MaxMessage int
	// MaxFragments is the most frames in a client's message. Default 64.
	MaxFragments int
	// MessageRate is how many messages and pings a client may send a second.
	// Default 50; negative means no bound.
	MessageRate float64
	// MessageBurst is how many may come at once. Default: 2 × MessageRate.
	MessageBurst int
	// MaxInputBytes bounds what is kept of incomplete messages, all clients
	// together. Past it the clients with the oldest ones are closed. Default
	// 64 MiB.
	MaxInputBytes int
	// MessageTimeout bounds the time from the first byte of a message to its
	// last. Default 1 min.
	MessageTimeout time.Duration

	// ClientBacklogBytes and ClientBacklogFrames bound the messages that wait
	// for one client that reads more slowly than they come. Past either it is
	// closed. The message that is being sent does not count, nor do answers
	// and control frames, and one message may be longer. Defaults 64 KiB and
	// 256 frames.
	ClientBacklogBytes, ClientBacklogFrames int
	// MaxBacklogBytes bounds what waits for all clients together, a frame
	// counted once for each; past it the clients with the largest backlogs
	// are closed. Default 256 MiB.
	MaxBacklogBytes int

	// Socket are the options of the sockets. Default: see defaultSocket, less
	// its DeferAccept where that is longer than HandshakeTimeout.
	Socket *netpoll.Options
}

// defaultSocket keeps little in the kernel for a client that does not read: 70
// to 85 KiB instead of 4 MB. A dead peer is found by the kernel within a minute.
//
// It is NotSentLowat that bounds this; the send buffer bounds what is under way
// beside, and has to hold a segment: the kernel counts its own structures, and
// with 32 KiB a segment of the loopback, 64 KB, does not fit, so that a client
// there waits 40 ms with every acknowledgement. 4 MiB took 1.6 to 2.1 s instead
// of 2 to 4 ms; in segments of an Ethernet there was no difference. Receiving 64
// KiB takes 85 µs with a receive buffer of 16 KiB, and 35 to 80 with 32.
// (BenchmarkSendBuffer and BenchmarkReceiveBuffer of netpoll.)
func defaultSocket() *netpoll.Options {
	return &netpoll.Options{
		SendBuffer:   64 << 10,
		RecvBuffer:   16 << 10,
		NotSentLowat: 16 << 10,
		KeepAlive:    time.Minute,
		UserTimeout:  time.Minute,
		DeferAccept:  time.Second,
	}
}

// ratePerCPU is the default of Limits.UpgradeRate for one CPU: at about 50 µs a
// connection, from accept to the first page, that is a twentieth of its time,
// which connected clients do not notice.
const ratePerCPU = 1000

// maxHead is the most bytes in a request's head.
const maxHead = 8 << 10

// withDefaults returns c complete, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	or(&c.Path, "/")
	or(&c.CompressionMin, 512)
	or(&c.Loops, runtime.GOMAXPROCS(0))
	or(&c.MaxConnections, defaultConnections())
	or(&c.UpgradeRate, float64(ratePerCPU*runtime.GOMAXPROCS(0)))
	or(&c.UpgradeQueue, int(max(0, 2*c.UpgradeRate))+1)
	or(&c.HandshakeTimeout, 10*time.Second)
	or(&c.MaxHeads, 1024)
	or(&c.CloseTimeout, 2*time.Second)
	or(&c.PingInterval, 30*time.Second)
	or(&c.MaxMessage, 64<<10)
	or(&c.MaxFragments, 64)
	or(&c.MessageRate, 50)
	or(&c.MessageBurst, int(2*c.MessageRate))
	or(&c.MaxInputBytes, 64<<20)
	or(&c.MessageTimeout, time.Minute)
	or(&c.ClientBacklogBytes, 64<<10)
	or(&c.ClientBacklogFrames, 256)
	or(&c.MaxBacklogBytes, 256<<20)
	if c.Socket == nil {
		c.Socket = defaultSocket()
		if c.Socket.DeferAccept > c.HandshakeTimeout {
			c.Socket.DeferAccept = 0
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, c.check()
}

func (c *Config) check() error {
	if c.Handler == nil {
		return errors.New("Handler is missing")
	}
	for _, v := range []struct {
		name     string
		value    int
		min, max int
	}{
		{"CompressionMin", c.CompressionMin, 1, 1 << 30},
		{"Loops", c.Loops, 1, 1 << 10},
		{"MaxConnections", c.MaxConnections, 1, maxConnections},
		{"MaxPerIP", c.MaxPerIP, 0, maxConnections},
		{"MaxHeads", c.MaxHeads, 1, maxConnections},
		{"MaxMessage", c.MaxMessage, 1, 1 << 30},
		{"MaxFragments", c.MaxFragments, 1, 1 << 16},
		{"MaxInputBytes", c.MaxInputBytes, 1, math.MaxInt},
		{"ClientBacklogBytes", c.ClientBacklogBytes, 1, 1 << 30},
		{"ClientBacklogFrames", c.ClientBacklogFrames, 1, 1 << 30},
		{"MaxBacklogBytes", c.MaxBacklogBytes, 1, math.MaxInt},
		{"HandshakeTimeout in ms", int(c.HandshakeTimeout.Milliseconds()), 1, maxMillis},
		{"MessageTimeout in ms", int(c.MessageTimeout.Milliseconds()), 1, maxMillis},
		{"CloseTimeout in ms", int(c.CloseTimeout.Milliseconds()), 1, maxMillis},
		{"PingInterval in ms", int(c.PingInterval.Milliseconds()), 8, maxMillis},
	} {
		if v.value < v.min || v.value > v.max {
			return fmt.Errorf("%s must be between %d and %d, not %d", v.name, v.min, v.max, v.value)
		}
	}
	return nil
}

const (
	maxConnections = 4 << 20
	// maxMillis keeps twice any interval within half the 32 bits of a loop's
	// clock, so that differences can be compared as signed numbers.
	maxMillis = 1 << 29
)

func (c *Config) limits() proto.Limits {
	return proto.Limits{MaxMessage: c.MaxMessage, MaxFragments: c.MaxFragments}
}

// or sets *v to def if it is zero.
func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Spare returns how many of the open files are left to others if connections
// clients are connected; 0 connections means the default MaxConnections.
func Spare(connections int) int {
	if connections == 0 {
		connections = defaultConnections()
	}
	return max(openFiles()-connections, 0)
}

// reserve is how many of limit open files are left to others.
func reserve(limit int) int { return min(limit/8, 1024) }
