package netpoll

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"pushd.example/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const patience = 20 * time.Second

// rig is one accepted socket, watched, and its peer.
type rig struct {
	t      *testing.T
	net    *Net
	poller *Poller
	socket int
	peer   *net.TCPConn
	events [16]Event
}

const tag = 7<<32 | 42

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	return rigOn(t, newNet(t), o)
}

func newNet(t *testing.T) *Net {
	n := NewNet()
	t.Cleanup(n.Shutdown)
	return n
}

func rigOn(t *testing.T, n *Net, o Options) *rig {
	t.Helper()
	l, err := n.Listen("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := n.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	var batch [4]Accepted
	if k, err := l.Accept(batch[:]); k != 1 || err != nil {
		t.Fatalf("Accept: %d, %v", k, err)
	}
	if ip := net.IP(batch[0].IP[:]); !ip.Equal(net.IPv4(127, 0, 0, 1)) {
		t.Errorf("the peer's address is %v", ip)
	}
	r := &rig{t: t, net: n, poller: p, socket: batch[0].Socket, peer: c.(*net.TCPConn)}
	t.Cleanup(func() {
		c.Close()
		n.Close(r.socket)
		p.Close()
	})
	return r
}

// await waits for an event that has all of want.
func (r *rig) await(want Ready) {
	r.t.Helper()
	var got Ready
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		n, err := r.poller.Wait(r.events[:], 100*time.Millisecond)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, e := range r.events[:n] {
			if e.Tag != tag {
				r.t.Fatalf("tag %x", e.Tag)
			}
			got |= e.Ready
		}
		if got&want == want {
			return
		}
	}
	r.t.Fatalf("waited in vain for %b, got %b", want, got)
}

func (r *rig) add() {
	r.t.Helper()
	if err := r.poller.Add(r.socket, tag); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) recv(want string) {
	r.t.Helper()
	var got []byte
	buf := make([]byte, 100)
	for len(got) < len(want) {
		n, err := r.net.Recv(r.socket, buf)
		if err == EAGAIN {
			r.await(Readable)
			continue
		}
		if err != nil || n == 0 {
			r.t.Fatalf("got %q, then %v", got, err)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != want {
		r.t.Fatalf("got %q, want %q", got, want)
	}
	if _, err := r.net.Recv(r.socket, buf); err != EAGAIN {
		r.t.Fatalf("want EAGAIN, got %v", err)
	}
}

func TestReadiness(t *testing.T) {
	r := newRig(t, Options{})
	io.WriteString(r.peer, "before")
	r.add() // what is there already is reported
	r.await(Readable)
	r.recv("before")
	for range 3 {
		io.WriteString(r.peer, "again")
		r.await(Readable)
		r.recv("again")
	}
	r.peer.CloseWrite()
	r.await(Readable | Hup)
	if n, err := r.net.Recv(r.socket, make([]byte, 1)); n != 0 || err != nil {
		t.Fatalf("want the end, got %d, %v", n, err)
	}
	if _, err := r.net.Sendv(r.socket, [][]byte{[]byte("a"), []byte("b")}); err != nil {
		t.Fatal(err)
	}
	if err := r.net.CloseWrite(r.socket); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r.peer); string(got) != "ab" || err != nil {
		t.Fatalf("the peer got %q, %v", got, err)
	}
}

func TestReset(t *testing.T) {
	r := newRig(t, Options{})
	r.add()
	r.peer.SetLinger(0)
	r.peer.Close()
	r.await(Readable | Hup)
	if n, err := r.net.Recv(r.socket, make([]byte, 1)); err == nil || err == EAGAIN {
		t.Fatalf("want an error, got %d, %v", n, err)
	}
}

// After EAGAIN in sending, Writable comes once there is room, and what was
// taken arrives whole and in order.
func TestWritability(t *testing.T) {
	r := newRig(t, Options{SendBuffer: 32 << 10, NotSentLowat: 16 << 10})
	r.add()
	flusher, _ := r.net.NewFlusher(false)
	defer flusher.Close()
	chunk := make([]byte, 10000)
	sent := 0
	for {
		for i := range chunk {
			chunk[i] = byte((sent + i) % 251)
		}
		batch := []Send{{Socket: int32(r.socket), Data: chunk}}
		flusher.Flush(batch)
		sent += int(batch[0].Sent)
		if batch[0].Err == EAGAIN {
			break
		}
		if batch[0].Err != 0 || batch[0].Sent != int32(len(chunk)) {
			t.Fatalf("%+v", batch[0].Err)
		}
	}
	for r.poll() { // what is from before
	}
	got := make([]byte, sent)
	if _, err := io.ReadFull(r.peer, got); err != nil {
		t.Fatal(err)
	}
	for i, b := range got {
		if b != byte(i%251) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
	r.await(Writable)
	if n, err := r.net.Sendv(r.socket, [][]byte{chunk}); n != len(chunk) || err != nil {
		t.Fatalf("there should be room, got %d, %v", n, err)
	}
	if _, err := io.ReadFull(r.peer, chunk); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) poll() bool {
	n, err := r.poller.Wait(r.events[:], 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return n > 0
}

func TestRemove(t *testing.T) {
	r := newRig(t, Options{})
	r.add()
	r.await(Writable)
	if err := r.poller.Remove(r.socket); err != nil {
		t.Fatal(err)
	}
	io.WriteString(r.peer, "x")
	if n, err := r.poller.Wait(r.events[:], 30*time.Millisecond); n != 0 || err != nil {
		t.Fatalf("%d events of a socket that was removed, %v", n, err)
	}
	r.add()
	r.await(Readable)
}

func TestWake(t *testing.T) {
	r := newRig(t, Options{})
	r.poller.Wake()
	began := time.Now()
	if n, err := r.poller.Wait(r.events[:], patience); n != 0 || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	go r.poller.Wake()
	if n, err := r.poller.Wait(r.events[:], patience); n != 0 || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	if time.Since(began) > patience {
		t.Error("Wake did not wake")
	}
}

func TestAcceptEnds(t *testing.T) {
	l, err := NewNet().Listen("127.0.0.1:0", Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := l.Accept(make([]Accepted, 1))
		done <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returned %v", err)
	}
	if l.Refuse(nil) {
		t.Error("a closed listener refused somebody")
	}
}

func TestAnswer(t *testing.T) {
	r := newRig(t, Options{})
	io.WriteString(r.peer, "a request")
	r.add()
	r.await(Readable)
	Answer(r.net, r.socket, []byte("no"))
	if got, err := io.ReadAll(r.peer); string(got) != "no" || err != nil {
		t.Fatalf("the peer got %q, %v", got, err)
	}
}

// Unacked counts what the peer's system has not taken.
func TestUnacked(t *testing.T) {
	r := newRig(t, Options{SendBuffer: 64 << 10})
	if r.net.Unacked(r.socket) != 0 {
		t.Error("bytes are unacknowledged before any were sent")
	}
	sent := 0
	for block := make([]byte, 64<<10); ; {
		n, err := r.net.Sendv(r.socket, [][]byte{block})
		if err == EAGAIN {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sent += n
	}
	if n := r.net.Unacked(r.socket); knowsUnacked && n == 0 {
		t.Error("the peer reads nothing, and nothing is unacknowledged")
	}
	if _, err := io.CopyN(io.Discard, r.peer, int64(sent)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); r.net.Unacked(r.socket) != 0; {
		if time.Now().After(deadline) {
			t.Fatal("the peer has read all, and something is unacknowledged")
		}
		time.Sleep(time.Millisecond) // between two looks
	}
}
