package reactor

import (
	"sync"
	"time"

	"pushd.example/internal/conn/proto"
)

// Reason is why a connection that was open ended.
type Reason uint8

// The reasons.
const (
	// ByClient: the client sent a Close frame.
	ByClient Reason = iota
	// Lost: the stream ended or broke without one.
	Lost
	// Protocol: the client broke RFC 6455.
	Protocol
	// TooBig: a message over the limits.
	TooBig
	// Unsupported: a kind of message that the handler does not take.
	Unsupported
	// TooMany: more messages than the rate limit lets through.
	TooMany
	// Idle: nothing was heard, not even the answer to a ping.
	Idle
	// Slow: the client's backlog was full, or stood still.
	Slow
	// Shed: the backlogs of all together were too large, and this was one of
	// the largest.
	Shed
	// Input: the incomplete messages of all together were too large, and this
	// was begun first.
	Input
	// Unfinished: a message was begun and not finished in time.
	Unfinished
	// Expired: the client's credential ended.
	Expired
	// Disconnected: a backend asked for it.
	Disconnected
	// Drained: the server shuts down.
	Drained
	// Truncated: what the client still had to get from history was dropped
	// there. It learns so when it comes back.
	Truncated
	// Panicked: a defect was met while serving it.
	Panicked
	reasons
)

var reasonWords = [reasons]string{"client", "lost", "protocol", "too_big", "unsupported",
	"too_many", "idle", "slow", "shed", "input", "unfinished", "expired", "disconnected", "drained", "truncated", "panic"}

// String returns the word that metrics use.
func (r Reason) String() string { return reasonWords[r] }

// Outcome is how a handshake ended.
type Outcome uint8

// Outcomes counts by the HTTP status of the answer; 0 is a client that went
// away before it got one.
var outcomeStatus = [...]int{101, 400, 401, 403, 404, 405, 408, 426, 429, 431, 503, 505, 0}

func outcomeOf(status int) Outcome {
	for i, s := range outcomeStatus {
		if s == status {
			return Outcome(i)
		}
	}
	return Outcome(1)
}

// Status returns the HTTP status, 0 for none.
func (o Outcome) Status() int { return outcomeStatus[o] }

// Stats is what happened on one loop, or on several added up. Counters only
// grow; gauges say so.
type Stats struct {
	Handshakes [len(outcomeStatus)]uint64 // by Outcome
	Closes     [reasons]uint64            // by Reason
	Errors     [len(proto.CloseErrorMetrics)]uint64
	Frames     uint64 // handed to the kernel, whole
	Bytes      uint64 // handed to the kernel
	Messages   uint64 // received: messages, pings and pongs
	Deferred   uint64 // frames that had to wait in a backlog
	Panics     uint64

	Deflations               uint64 // messages compressed, once whoever gets them
	Deflated                 uint64 // messages sent compressed, one a connection
	DeflatedFrom, DeflatedTo uint64 // what they were sent with, in bytes before and after
	Inflated                 uint64 // messages received compressed

	Turns Histogram

	// Gauges.
	Connecting, Open, Closing int
	Waiting                   int // admitted, until their turn; not in Connecting
	Backlogged                int // connections with a backlog
	BacklogBytes              int
	HeadBytes, InputBytes     int // buffers of incomplete heads, and messages
}

// Histogram counts durations.
type Histogram struct {
	Buckets [len(TurnBounds)]uint64 // at most so long, not cumulated
	Count   uint64
	Sum     time.Duration
}

// TurnBounds are the upper bounds of a Histogram's buckets.
var TurnBounds = [...]time.Duration{20 * time.Microsecond, 100 * time.Microsecond, 500 * time.Microsecond,
	2 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 250 * time.Millisecond, time.Second}

func (h *Histogram) add(d time.Duration) {
	h.Count++
	h.Sum += d
	for i, bound := range TurnBounds {
		if d <= bound {
			h.Buckets[i]++
			return
		}
	}
}

// Add adds o's counters and gauges to s's.
func (s *Stats) Add(o *Stats) {
	for i, n := range o.Handshakes {
		s.Handshakes[i] += n
	}
	for i, n := range o.Closes {
		s.Closes[i] += n
	}
	for i, n := range o.Errors {
		s.Errors[i] += n
	}
	for i, n := range o.Turns.Buckets {
		s.Turns.Buckets[i] += n
	}
	s.Turns.Count += o.Turns.Count
	s.Turns.Sum += o.Turns.Sum
	s.Frames += o.Frames
	s.Bytes += o.Bytes
	s.Messages += o.Messages
	s.Deferred += o.Deferred
	s.Panics += o.Panics
	s.Deflations += o.Deflations
	s.Deflated += o.Deflated
	s.DeflatedFrom += o.DeflatedFrom
	s.DeflatedTo += o.DeflatedTo
	s.Inflated += o.Inflated
	s.Connecting += o.Connecting
	s.Open += o.Open
	s.Waiting += o.Waiting
	s.Closing += o.Closing
	s.Backlogged += o.Backlogged
	s.BacklogBytes += o.BacklogBytes
	s.HeadBytes += o.HeadBytes
	s.InputBytes += o.InputBytes
}

// published is a loop's Stats as others may read them: copied at the end of a
// turn, so that counting on the way costs no more than an addition.
type published struct {
	mu    sync.Mutex // guards stats
	stats Stats
}

func (p *published) set(s *Stats) {
	p.mu.Lock()
	p.stats = *s
	p.mu.Unlock()
}

func (p *published) addTo(s *Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Add(&p.stats)
}
