package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/testkit"
)

// A panic costs the connection that it was about, wherever in its life it
// comes, and no other.
func TestPanicsAreIsolated(t *testing.T) {
	var requests atomic.Int32
	panicOn := func(when bool) {
		if when {
			panic("a defect")
		}
	}
	r := serve(t, reactor.Config{
		Handler: newHooks(func(k *hooks) {
			k.request = func(reactor.Handle) { panicOn(requests.Add(1) == 2) }
			k.message = func(_ *reactor.Loop, _ reactor.Handle, p []byte) bool {
				panicOn(string(p) == "panic")
				return true
			}
			k.closed = func(reactor.Handle) { panic("a defect in closing") }
		}),
	})
	good := dialRaw(t, r).upgrade()
	inRequest := dialRaw(t, r)
	inRequest.write(request)
	inRequest.wantGone()
	inMessage := dialRaw(t, r).upgrade()
	inMessage.write(text("fine") + text("panic") + text("too late"))
	inMessage.wantText("fine")
	inMessage.wantClose(1011)
	good.write(text("still here"))
	good.wantText("still here")
	testkit.WaitFor(t, "the panics to be counted", func() bool {
		s := r.Stats()
		return s.Panics == 4 && s.Closes[reactor.Panicked] == 1
	})
}

func TestPanicInSweep(t *testing.T) {
	var victim atomic.Uint64
	r := serve(t, reactor.Config{
		Limits: reactor.Limits{PingInterval: 80 * time.Millisecond},
		Handler: newHooks(func(k *hooks) {
			k.message = func(_ *reactor.Loop, h reactor.Handle, p []byte) bool {
				victim.Store(uint64(h))
				return true
			}
			k.sweep = func(h reactor.Handle) {
				if victim.Load() == uint64(h) {
					panic("a defect")
				}
			}
		}),
	})
	c := dialRaw(t, r).upgrade()
	c.write(text("me"))
	c.wantClose(1011)
}

func TestShutdownSendsClientsAway(t *testing.T) {
	r := serve(t, reactor.Config{})
	clients := make([]*raw, 50)
	for i := range clients {
		clients[i] = dialRaw(t, r).upgrade()
	}
	half := dialRaw(t, r) // its request is not complete
	half.write("GET / HTTP/1.1\r\n")
	testkit.WaitFor(t, "the head to come", func() bool { return r.Stats().Connecting == 1 })
	done := make(chan error, 1)
	go func() { done <- r.Shutdown(context.Background()) }()
	for _, c := range clients {
		c.wantClose(4200)
	}
	half.want(503)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", r.Addr().String()); err == nil {
		t.Error("the address is still served")
	}
	if n := r.Stats().Closes[reactor.Drained]; n != 50 {
		t.Errorf("%d drained connections were counted, want 50", n)
	}
}

func TestShutdownDoesNotWaitForTheStuck(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{CloseTimeout: patience, MessageRate: -1}})
	stuck(t, r, 10)
	testkit.WaitFor(t, "it to be there", func() bool { return r.Stats().Open == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returned %v", err)
	}
}

func TestShutdownBeforeRun(t *testing.T) {
	r, err := reactor.New(reactor.Config{Listen: "127.0.0.1:0", Handler: newHooks(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	r.Run()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Connections come and go in every way while numbers are used again and again;
// each sees its own messages and nobody else's.
func TestSocketsUsedAgain(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{Loops: 4, MessageRate: -1, CloseTimeout: 20 * time.Millisecond}})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 60 {
				c := dialRaw(t, r)
				c.write(request)
				if i%5 == 4 { // gone before the answer
					c.SetLinger(w%2 == 0)
					c.Close()
					continue
				}
				c.want(101)
				for k := range 3 {
					mine := fmt.Sprintf("%d %d %d", w, i, k)
					c.write(text(mine))
					c.wantText(mine)
				}
				c.SetLinger(i%2 == 0)
				c.Close()
			}
		})
	}
	wg.Wait()
	testkit.WaitFor(t, "all to be gone", func() bool {
		s := r.Stats()
		return s.Connecting+s.Open+s.Closing == 0
	})
}

// SetLinger chooses between closing in order and resetting.
func (c *raw) SetLinger(inOrder bool) {
	if !inOrder {
		c.Conn.(*net.TCPConn).SetLinger(0)
	}
}

// deferrer answers requests from another loop, after a while, and sends to
// handles that are long gone.
type deferrer struct {
	reactor.Handler
	loop  *reactor.Loop
	loops *[]*deferrer
	asked reactor.Mailbox[reactor.Handle]
	old   []reactor.Handle
}

type parcel struct {
	key  [24]byte
	from int
}

func (d *deferrer) Request(h reactor.Handle, r *proto.Request) {
	p := &parcel{from: d.loop.ID()}
	copy(p.key[:], r.Key)
	to := (*d.loops)[(d.loop.ID()+1)%len(*d.loops)]
	d.loop.Admit(h, to.loop, p)
	d.loop.Admit(h, to.loop, p) // a handle that is void already
	d.old = append(d.old, h)
}

func (d *deferrer) Adopt(h reactor.Handle, v any) {
	if p := v.(*parcel); p.from != d.loop.ID() {
		go func() {
			d.asked.Put(1, h)
			d.loop.Wake()
		}()
		return
	}
	d.loop.Refuse(h, proto.ErrBusy)
}

func (d *deferrer) Work() bool {
	for _, h := range d.asked.Take(nil) {
		f := d.loop.NewFrame(256)
		f.B = proto.AppendUpgrade(f.B, []byte("dGhlIHNhbXBsZSBub25jZQ=="), "", proto.Deflate{})
		d.loop.Open(h, f, proto.Deflate{})
		for _, old := range d.old {
			d.loop.Send(old, f)
			d.loop.Close(old, reactor.Idle, 1000, "nobody should get this")
		}
		d.loop.Drop(f)
	}
	return false
}

func (d *deferrer) Idle() bool { return d.asked.Empty() }

func TestMovedWhilePending(t *testing.T) {
	var all []*deferrer
	r := serve(t, reactor.Config{
		Limits: reactor.Limits{Loops: 3, MessageRate: -1},
		Handler: func(l *reactor.Loop) reactor.Handler {
			d := &deferrer{Handler: newHooks(nil)(l), loop: l, loops: &all}
			all = append(all, d)
			return d
		},
	})
	for i := range 30 {
		c := dialRaw(t, r)
		if i%2 == 0 { // the request in two pieces, so that it is watched before it moves
			c.write(request[:50])
			testkit.WaitFor(t, "the first piece", func() bool { return r.Stats().HeadBytes > 0 })
			c.write(request[50:] + text("early"))
		} else {
			c.write(request + text("early"))
		}
		c.want(101)
		c.wantText("early")
		c.write(text("late"))
		c.wantText("late")
	}
}

func TestNetpollOptionsAreOptional(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{Socket: &netpoll.Options{}}})
	c := dialRaw(t, r).upgrade()
	c.write(text("x"))
	c.wantText("x")
}
