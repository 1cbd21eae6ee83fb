//go:build linux && !fallback && !race

// The race detector makes sync.Pool forget at random, and the fallback copies.

package conn

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pushd.example/internal/auth"
	"pushd.example/internal/history"
	"pushd.example/internal/history/memory"
)

type believer struct{}

func (believer) Client(_, user string) (auth.Caller, error) { return auth.Caller{User: user}, nil }

// crowd runs a server with so many clients, user0, user1 and so on, who offer
// extensions in further lines of their requests.
func crowd(tb testing.TB, clients int, lines string) (*Server, []net.Conn) {
	store, err := memory.New(memory.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := New(Config{Listen: "127.0.0.1:0", Store: store, Messages: store, Auth: believer{}, Compression: true})
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		s.Serve()
		close(done)
	}()
	tb.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
		<-done
		store.Close()
	})
	conns := make([]net.Conn, clients)
	for i := range conns {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "GET /push?user=user%d HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", i, lines)
		conns[i] = c
	}
	await(tb, func() bool { return s.stats().Sessions == clients && s.reactor.Stats().Open == clients })
	return s, conns
}

// await waits until cond holds. It looks more often than testkit.WaitFor, since
// benchmarks wait with it, and allocates nothing.
func await(tb testing.TB, cond func() bool) {
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(20 * time.Microsecond) {
		if time.Now().After(deadline) {
			tb.Fatal("waited in vain")
		}
	}
}

// broadcast returns a broadcast with nothing before it.
func broadcast(id history.ID, data []byte) []history.Delivery {
	return []history.Delivery{{
		Message: history.Message{ID: id, Kind: history.Broadcast, Data: data},
	}}
}

// offering is the line of a client that takes compressed messages.
const offering = "Sec-WebSocket-Extensions: permessage-deflate\r\n"

// No broadcast, ephemeral or not, and no unicast allocates anything, from the
// store's call to the kernel's, compressed or not, though receipts are kept.
func TestDeliveriesDoNotAllocate(t *testing.T) {
	data := []byte(`{"title":"` + strings.Repeat("Hi ", 300) + `"}`)
	for name, lines := range map[string]string{"plain": "", "compressed": offering} {
		t.Run(name, func(t *testing.T) { deliveriesDoNotAllocate(t, lines, data) })
	}
}

func deliveriesDoNotAllocate(t *testing.T, lines string, data []byte) {
	const clients = 50
	s, conns := crowd(t, clients, lines)
	for _, c := range conns {
		var reading sync.WaitGroup
		reading.Go(func() { io.Copy(io.Discard, c) })
		t.Cleanup(func() {
			c.Close()
			reading.Wait()
		})
	}
	id := history.FirstIDAt(time.Now().Add(time.Hour))
	batch := broadcast(id, data)
	send := func() {
		before := s.stats().Broadcast
		s.fanout.Deliver(batch)
		await(t, func() bool { return s.stats().Broadcast == before+clients })
		batch[0].Prev = batch[0].Message.ID
		batch[0].Message.ID++
	}
	// A crowd of receivers, so that what the runtime allocates now and then
	// (a pool refilled after a collection) stays below one a broadcast.
	if n := testing.AllocsPerRun(200, send); n > 0 {
		t.Errorf("%v allocations a broadcast to %d clients", n, clients)
	}
	unicast := []history.Delivery{{
		Message:    history.Message{ID: id, Kind: history.Unicast, Data: data},
		Recipients: []history.Recipient{{User: "user7"}},
	}}
	if n := testing.AllocsPerRun(200, func() {
		before := s.stats().Inbox
		s.fanout.Deliver(unicast)
		await(t, func() bool { return s.stats().Inbox == before+1 })
		unicast[0].Recipients[0].Prev = unicast[0].Message.ID
		unicast[0].Message.ID++
	}); n > 0 {
		t.Errorf("%v allocations a unicast", n)
	}
	const burst = 250 // more than one group, in one turn
	many := make([]history.Delivery, burst)
	for i := range many {
		many[i] = broadcast(batch[0].Message.ID+history.ID(i), []byte("1"))[0]
		many[i].Prev = many[i].Message.ID - 1
	}
	if n := testing.AllocsPerRun(20, func() {
		before := s.stats().Broadcast
		s.fanout.Deliver(many)
		// The backlogs must be empty: bursts on top of one another would have
		// clients cut off that do not get to read.
		await(t, func() bool {
			return s.stats().Broadcast == before+burst*clients && s.reactor.Stats().Backlogged == 0
		})
		for i := range many {
			many[i].Message.ID += burst
			many[i].Prev += burst
		}
	}); n >= clients { // a backlog now and then, nothing for each client
		t.Errorf("%v allocations a burst of %d broadcasts", n, burst)
	}
	brief := broadcast(many[0].Message.ID, data)
	brief[0].Message.Ephemeral = true
	if n := testing.AllocsPerRun(200, func() {
		before := s.stats().Ephemeral
		s.fanout.Deliver(brief)
		await(t, func() bool { return s.stats().Ephemeral == before+clients })
	}); n > 0 {
		t.Errorf("%v allocations an ephemeral broadcast to %d clients", n, clients)
	}
	const messages = 1 + 200 // of each kind
	made, sent := uint64(3*messages), uint64(2*messages*clients+messages)
	if lines == "" {
		made, sent = 0, 0
	}
	await(t, func() bool {
		n := s.reactor.Stats()
		return n.Deflations == made && n.Deflated == sent
	})
}

// A client's ping, message or frame, and the loops' ticks allocate nothing.
func TestPingsDoNotAllocate(t *testing.T) {
	s, conns := crowd(t, 1, "")
	c := conns[0]
	c.SetDeadline(time.Now().Add(20 * time.Second))
	skip := make([]byte, 4096)
	c.Read(skip) // response and hello
	ping := []byte("\x81\x8f\x00\x00\x00\x00" + `{"type":"ping"}` + "\x89\x80\x00\x00\x00\x00")
	pong := make([]byte, len("\x81\x0f"+`{"type":"pong"}`+"\x8a\x00"))
	if n := testing.AllocsPerRun(20, func() { // below the rate limit
		if _, err := c.Write(ping); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, pong); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a ping", n)
	}
	if n := testing.AllocsPerRun(5, func() {
		turns := s.reactor.Stats().Turns.Count
		await(t, func() bool { return s.reactor.Stats().Turns.Count > turns+1 })
	}); n > 0 {
		t.Errorf("%v allocations a tick", n)
	}
}
