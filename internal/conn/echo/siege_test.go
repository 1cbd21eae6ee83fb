package main

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pushd.example/internal/conn/echo/handler"
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
)

// siege is a server under attack. All along one client behaves and is served;
// what is kept for the others stays within the limits; and in the end every
// connection but that one is off the books, under exactly one reason.
type siege struct {
	*testing.T
	*reactor.Reactor
	limits reactor.Limits
	good   *wire

	// The handler's count: connections that began, and their ends.
	begun, ended atomic.Int64
}

// closeTimeout is long enough for a client to have read the server's Close
// frame before what it still sends resets the connection.
const closeTimeout = 250 * time.Millisecond

// besiege begins a siege, and ends it with the test.
func besiege(t *testing.T, limits reactor.Limits) *siege {
	s := &siege{T: t}
	limits.Loops = 2 // whatever the machine: loops share the limits
	if limits.UpgradeRate == 0 {
		limits.UpgradeRate = -1
	}
	if limits.CloseTimeout == 0 {
		limits.CloseTimeout = closeTimeout
	}
	if limits.MaxInputBytes == 0 {
		limits.MaxInputBytes = 1 << 20
	}
	if limits.MaxBacklogBytes == 0 {
		limits.MaxBacklogBytes = 2 << 20
	}
	s.limits = limits
	s.Reactor = serve(t, reactor.Config{Limits: limits, Compression: true, Handler: func(l *reactor.Loop) reactor.Handler {
		return &counting{handler.New(l), s}
	}})
	s.good = dial(t, s.Addr())
	t.Cleanup(s.over)
	s.watch()
	return s
}

// counting is the echo handler, with books.
type counting struct {
	reactor.Handler
	siege *siege
}

func (c *counting) Request(h reactor.Handle, r *proto.Request) {
	c.siege.begun.Add(1)
	c.Handler.Request(h, r)
}

func (c *counting) Closed(reactor.Handle, bool) { c.siege.ended.Add(1) }

// watch looks at what is kept for clients until the test ends.
func (s *siege) watch() {
	var watching sync.WaitGroup
	stop := make(chan struct{})
	watching.Go(func() {
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for {
			n := s.Stats()
			if n.InputBytes > s.limits.MaxInputBytes || n.BacklogBytes > s.limits.MaxBacklogBytes {
				s.Errorf("%d bytes of input and %d of backlog are kept, over the limits", n.InputBytes, n.BacklogBytes)
				return
			}
			select {
			case <-look.C:
			case <-stop:
				return
			}
		}
	})
	s.Cleanup(func() {
		close(stop)
		watching.Wait()
	})
}

// over waits for the books to balance.
func (s *siege) over() {
	s.until("everybody else to be gone, each for one reason", func() bool {
		n := s.Stats()
		closes := uint64(0)
		for _, k := range n.Closes {
			closes += k
		}
		opened := handshakes(&n, 101)
		return n.Open == 1 && n.Connecting+n.Closing+n.Backlogged+n.BacklogBytes+n.InputBytes+n.HeadBytes == 0 &&
			opened == closes+1 && s.begun.Load() == s.ended.Load()+1
	})
}

// until waits for cond while the good client is served.
func (s *siege) until(what string, cond func() bool) {
	s.Helper()
	pace := time.NewTicker(30 * time.Millisecond) // within the rate that is allowed by default
	defer pace.Stop()
	for deadline := time.Now().Add(patience); ; <-pace.C {
		s.good.conn.SetDeadline(time.Now().Add(patience))
		s.good.write(encode(text("still here?")))
		s.good.hearBehindPings(text("still here?"))
		if cond() {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("waited in vain for %s: %+v", what, s.Stats())
		}
	}
}

// calm checks that nobody keeps the loops busy who only waits: so many turns in
// so long are less than a loop takes that spins, and more than ticks and
// wake-ups need.
func (s *siege) calm() {
	s.Helper()
	before := s.Stats().Turns.Count
	<-time.After(50 * time.Millisecond)
	if turns := s.Stats().Turns.Count - before; turns > 200 {
		s.Errorf("%d turns in a moment in which nothing happens", turns)
	}
}

// answered returns how many requests were answered with status.
func (s *siege) answered(status int) uint64 {
	n := s.Stats()
	return handshakes(&n, status)
}

func handshakes(s *reactor.Stats, status int) uint64 {
	for i, n := range s.Handshakes {
		if reactor.Outcome(i).Status() == status {
			return n
		}
	}
	panic("this status is not counted")
}

// closed waits until so many connections were closed for this reason.
func (s *siege) closed(why reactor.Reason, times uint64) {
	s.Helper()
	s.until(why.String()+" to be counted", func() bool { return s.Stats().Closes[why] == times })
}

// flood says p without end, until the connection breaks, which it must.
func flood(c *wire, p []byte, chop int) (stop func()) {
	var flooding sync.WaitGroup
	flooding.Go(func() {
		for {
			for from := 0; from < len(p); from += chop {
				if _, err := c.conn.Write(p[from:min(from+chop, len(p))]); err != nil {
					if timedOut(err) {
						c.t.Error("who says so much is still there")
					}
					return
				}
			}
		}
	})
	return flooding.Wait
}
