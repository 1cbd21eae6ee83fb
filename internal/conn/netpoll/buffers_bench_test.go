//go:build linux && !fallback

package netpoll

import (
	"context"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkSendBuffer drains a message of 4 MiB to a client that reads as fast
// as it can, and says what a client that does not read makes the kernel hold on
// this side: by the size of the send buffer (0: the system's choice), over the
// loopback as it is, and in segments as on an Ethernet.
func BenchmarkSendBuffer(b *testing.B) {
	for _, mss := range []int{0, 1448} {
		for _, size := range []int{16 << 10, 32 << 10, 48 << 10, 64 << 10, 128 << 10, 0} {
			for _, lowat := range []int{0, 16 << 10} {
				o := Options{SendBuffer: size, RecvBuffer: 16 << 10, NotSentLowat: lowat}
				b.Run(fmt.Sprintf("mss=%d/buffer=%dKiB/lowat=%dKiB", mss, size>>10, lowat>>10), func(b *testing.B) {
					benchmarkDrain(b, o, mss)
				})
			}
		}
	}
}

func benchmarkDrain(b *testing.B, o Options, mss int) {
	n := NewNet()
	l, err := n.Listen("127.0.0.1:0", o)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	p, err := n.NewPoller()
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	message := make([]byte, 4<<20)
	stuck := heldWhenStuck(b, n, l, mss, message)

	c, socket := connectTo(b, l, mss)
	defer c.Close()
	defer n.Close(socket)
	if err := p.Add(socket, 1); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		read := make(chan error, 1)
		go func() {
			_, err := io.CopyN(io.Discard, c, int64(len(message)))
			read <- err
		}()
		sendAll(b, n, p, socket, message)
		if err := <-read; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(stuck)/1024, "KiB-when-stuck")
}

// connectTo returns a client and its socket on the server's side.
func connectTo(b *testing.B, l *Listener, mss int) (net.Conn, int) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if mss > 0 {
			c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, mss) })
		}
		return err
	}}
	c, err := d.DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	var a [1]Accepted
	if _, err := l.Accept(a[:]); err != nil {
		b.Fatal(err)
	}
	return c, a[0].Socket
}

// sendAll sends message as a loop does: until there is no room, and again when
// there is.
func sendAll(b *testing.B, n *Net, p *Poller, socket int, message []byte) {
	var events [4]Event
	for sent := 0; sent < len(message); {
		k, err := n.Sendv(socket, [][]byte{message[sent:]})
		if err == EAGAIN {
			_, err = p.Wait(events[:], time.Second)
		}
		if err != nil {
			b.Fatal(err)
		}
		sent += k
	}
}

// heldWhenStuck sends to a client that reads nothing, in frames of 1 KiB,
// until there is no room, and returns what the kernel holds then for the
// server's socket, its own structures included.
func heldWhenStuck(b *testing.B, n *Net, l *Listener, mss int, message []byte) uint32 {
	c, socket := connectTo(b, l, mss)
	defer c.Close()
	defer n.Close(socket)
	for {
		_, err := n.Sendv(socket, [][]byte{message[:1<<10]})
		if err == EAGAIN {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	var info [9]uint32 // SO_MEMINFO: see linux/sock_diag.h
	const queued = 5
	size := uint32(unsafe.Sizeof(info))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		b.Fatal(e)
	}
	return info[queued]
}

// BenchmarkReceiveBuffer receives messages of 64 KiB, the longest that clients
// may send by default, by the size of the receive buffer.
func BenchmarkReceiveBuffer(b *testing.B) {
	for _, mss := range []int{0, 1448} {
		for _, size := range []int{8 << 10, 16 << 10, 32 << 10, 64 << 10, 0} {
			o := Options{SendBuffer: 64 << 10, RecvBuffer: size, NotSentLowat: 16 << 10}
			b.Run(fmt.Sprintf("mss=%d/buffer=%dKiB", mss, size>>10), func(b *testing.B) { benchmarkReceive(b, o, mss) })
		}
	}
}

func benchmarkReceive(b *testing.B, o Options, mss int) {
	n := NewNet()
	l, err := n.Listen("127.0.0.1:0", o)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	p, err := n.NewPoller()
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	c, socket := connectTo(b, l, mss)
	defer c.Close()
	defer n.Close(socket)
	if err := p.Add(socket, 1); err != nil {
		b.Fatal(err)
	}
	message, buf := make([]byte, 64<<10), make([]byte, 64<<10)
	var events [4]Event
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		wrote := make(chan error, 1)
		go func() {
			_, err := c.Write(message)
			wrote <- err
		}()
		for got := 0; got < len(message); {
			k, err := n.Recv(socket, buf)
			if err == EAGAIN {
				_, err = p.Wait(events[:], time.Second)
			}
			if err != nil {
				b.Fatal(err)
			}
			got += k
		}
		if err := <-wrote; err != nil {
			b.Fatal(err)
		}
	}
}
