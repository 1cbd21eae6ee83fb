package main

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
)

// address is a connection as others know it, perhaps not for long.
type address struct {
	host *host
	h    reactor.Handle
	user string
	key  string // of the request, until it is answered
}

// addressBook has the latest connections of all loops.
type addressBook struct {
	hosts                         []*host
	sent, stale, reused, mistaken atomic.Int64
	errands                       sync.WaitGroup

	mu     sync.Mutex // guards what follows
	latest [32]address
	n      int
	users  map[uint32]string // the last to have had a socket
}

func (b *addressBook) enter(l *reactor.Loop) *host {
	h := &host{loop: l, book: b, users: map[reactor.Handle]string{}, mail: reactor.Mailbox[letter]{Limit: 8}}
	b.hosts = append(b.hosts, h)
	return h
}

func (b *addressBook) add(a address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.latest[b.n%len(b.latest)] = a
	b.n++
	if b.users == nil {
		b.users = map[uint32]string{}
	}
	if last := b.users[a.h.Socket()]; last != "" && last != a.user {
		b.reused.Add(1)
	}
	b.users[a.h.Socket()] = a.user
}

func (b *addressBook) any() (address, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == 0 {
		return address{}, false
	}
	return b.latest[rand.IntN(min(b.n, len(b.latest)))], true
}

// send sends to connections of the book until calm is closed.
func (b *addressBook) send(calm chan struct{}) {
	for {
		select {
		case <-calm:
			return
		default:
		}
		if a, ok := b.any(); ok {
			a.host.mail.Put(1, letter{a, rand.IntN(20) == 0})
			a.host.loop.Wake()
		}
	}
}

// letter is what a host is asked to do: to close a connection, or to send to
// it, having answered its request if that is still to be done.
type letter struct {
	to    address
	close bool
}

// host is the handler of one loop.
type host struct {
	loop *reactor.Loop
	book *addressBook
	mail reactor.Mailbox[letter]

	users map[reactor.Handle]string // the loop's own
	spare []letter
}

// Request answers at once, later, or on another loop.
func (k *host) Request(h reactor.Handle, r *proto.Request) {
	a := address{k, h, string(r.User), string(r.Key)}
	k.users[h] = a.user
	switch rand.IntN(3) {
	case 0:
		k.open(a)
	case 1:
		k.openLater(a)
	case 2:
		to := k.book.hosts[rand.IntN(len(k.book.hosts))]
		if to != k {
			delete(k.users, h) // this handle ends here, without Closed
		}
		k.loop.Admit(h, to.loop, a)
	}
}

// Adopt gets what Request moved.
func (k *host) Adopt(h reactor.Handle, v any) {
	a := v.(address)
	a.host, a.h = k, h
	k.users[h] = a.user
	if rand.IntN(2) == 0 {
		k.open(a)
	} else {
		k.openLater(a)
	}
}

// open answers a request, which may be gone by now.
func (k *host) open(a address) {
	f := k.loop.NewFrame(256)
	f.B = proto.AppendUpgrade(f.B, []byte(a.key), "", proto.Deflate{})
	k.loop.Open(a.h, f, proto.Deflate{})
	k.loop.Drop(f)
	if _, here := k.users[a.h]; here {
		a.key = ""
		k.book.add(a)
	}
}

// openLater leaves the answer to another goroutine, and to chance when.
func (k *host) openLater(a address) {
	k.book.errands.Go(func() {
		k.mail.Put(1, letter{to: a})
		k.loop.Wake()
	})
}

// Message holds the name of who sent it, by which it is answered.
func (k *host) Message(h reactor.Handle, op proto.Op, payload []byte) {
	user := k.users[h]
	if string(payload) != user {
		k.book.mistaken.Add(1)
	}
	k.say(h, echo(user))
}

func (k *host) say(h reactor.Handle, s string) {
	f := k.loop.NewFrame(len(s) + 10)
	f.B = proto.AppendFrame(f.B, proto.Text, []byte(s))
	k.loop.Send(h, f)
	k.loop.Drop(f)
}

// Work does as the letters say.
func (k *host) Work() bool {
	letters := k.mail.Take(k.spare[:0])
	for _, l := range letters {
		switch _, here := k.users[l.to.h]; {
		case l.to.key != "":
			k.open(l.to)
			continue
		case here:
			k.book.sent.Add(1)
		default:
			k.book.stale.Add(1)
		}
		// To whom is gone too: that it reaches nobody is what is tested.
		if l.close {
			k.loop.Close(l.to.h, reactor.Expired, closedBySender, l.to.user)
		} else {
			k.say(l.to.h, pushed(l.to.user, rand.IntN(2000)))
		}
	}
	clear(letters)
	k.spare = letters
	return false
}

func (k *host) Closed(h reactor.Handle, _ bool) {
	if _, ok := k.users[h]; !ok {
		k.book.mistaken.Add(1)
	}
	delete(k.users, h)
}

// Stop comes when every connection has ended.
func (k *host) Stop() {
	k.mail.Close()
	k.book.mistaken.Add(int64(len(k.users)))
}

func (k *host) Idle() bool                      { return k.mail.Empty() }
func (k *host) Drained(reactor.Handle)          {}
func (k *host) Sweep(reactor.Handle, time.Time) {}

// A message of the server ends with the name of its addressee.
func echo(user string) string { return "your echo, " + user }

func pushed(user string, n int) string { return strings.Repeat("x", n) + " for " + user }
