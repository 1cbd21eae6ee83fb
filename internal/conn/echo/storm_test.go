package main

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pushd.example/internal/conn/reactor"
)

// stormFor is how long TestStorm goes on; minutes show what seconds do not:
//
//	go test ./internal/conn/echo -run Storm -storm 3m
var stormFor = flag.Duration("storm", 2*time.Second, "how long TestStorm goes on")

// Connections come and go as fast as they can, so that descriptors and slots
// are used again all the time, while others send to connections, answer their
// requests and close them by handles that may be long out of date. Everything
// that a connection gets must be its own.
func TestStorm(t *testing.T) {
	book := &addressBook{}
	t.Cleanup(func() { // after Shutdown
		if n := book.mistaken.Load(); n > 0 {
			t.Errorf("%d times the handler was told of somebody else than it knew, or of no end", n)
		}
	})
	r := serve(t, reactor.Config{
		Handler: func(l *reactor.Loop) reactor.Handler { return book.enter(l) },
		Limits:  reactor.Limits{Loops: 4, UpgradeRate: -1, MessageRate: -1, CloseTimeout: 50 * time.Millisecond},
	})
	over := make(chan struct{})
	var clients, senders sync.WaitGroup
	var seen seen
	for w := range 12 {
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				if err := visit(r.Addr(), fmt.Sprintf("%d-%d", w, i), &seen); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	calm := make(chan struct{})
	for range 3 {
		senders.Go(func() { book.send(calm) })
	}
	<-time.After(*stormFor)
	close(over)
	clients.Wait()
	close(calm)
	senders.Wait()
	book.errands.Wait()

	t.Logf("%d visits, %d frames heard, %d answers; %d sent to connections, %d to nobody; %d sockets used again",
		seen.visits.Load(), seen.frames.Load(), seen.echoes.Load(), book.sent.Load(), book.stale.Load(), book.reused.Load())
	for what, n := range map[string]int64{
		"visits": seen.visits.Load(), "frames": seen.frames.Load(), "answers": seen.echoes.Load(),
		"sends": book.sent.Load(), "sends to nobody": book.stale.Load(), "sockets used again": book.reused.Load(),
	} {
		if n < 50 {
			t.Errorf("%d %s: this was no storm", n, what)
		}
	}
}

// seen is what clients saw.
type seen struct{ visits, frames, echoes atomic.Int64 }

// visit is one client's stay: it comes, in one of several ways hears nothing
// or some, and goes. The error is about what it heard, not about being cut off.
func visit(addr net.Addr, user string, seen *seen) error {
	conn, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		return nil // all ports are taken: the next may be luckier
	}
	c := &wire{conn: conn.(*net.TCPConn)}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	seen.visits.Add(1)
	c.in = bufio.NewReader(conn)
	key := newKey()
	say := request("/?user="+user, key)
	if rand.IntN(4) == 0 { // in two pieces, so that the loop has to keep the first
		n := rand.IntN(len(say))
		conn.Write([]byte(say[:n]))
		say = say[n:]
	}
	conn.Write([]byte(say))
	if rand.IntN(5) == 0 {
		c.reset()
		return nil
	}
	if err := c.upgraded(key); err != nil {
		return fmt.Errorf("%s: %w", user, err)
	}
	for range rand.IntN(4) {
		conn.Write(encode(text(user)))
		if err := c.hearOwn(user, seen, echo(user)); err != nil {
			return err
		}
	}
	switch rand.IntN(4) {
	case 0:
		c.reset()
		return nil
	case 1:
		conn.Write(encode(bye(1000, "")))
	case 2:
		c.conn.CloseWrite()
	case 3:
		conn.Write([]byte{0xff, 0x80, 0, 0, 0, 0})
	}
	return c.hearOwn(user, seen, "")
}

// hearOwn reads frames, all of which must be for user, up to the one that is
// awaited or the end.
func (c *wire) hearOwn(user string, seen *seen, await string) error {
	for {
		f, err := readFrame(c.in)
		switch {
		case timedOut(err):
			return fmt.Errorf("%s: nothing comes, not even the end", user)
		case err != nil:
			return nil // cut off; by a stale Close of its own, or as it asked for
		case f.op == opClose && len(f.payload) > 2 && f.code() == closedBySender && f.payload[2:] != user:
			return fmt.Errorf("%s was closed in place of %s", user, f.payload[2:])
		case f.op == opClose:
			return nil
		case f.payload == echo(user):
			seen.echoes.Add(1)
		case !strings.HasSuffix(f.payload, " for "+user):
			return fmt.Errorf("%s heard %v", user, f)
		}
		seen.frames.Add(1)
		if f.payload == await {
			return nil
		}
	}
}

// closedBySender is the code with which senders close connections; the reason
// is whom they mean.
const closedBySender = 4242
