//go:build linux && !fallback

package uring

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestABI(t *testing.T) {
	if p, s, c := unsafe.Sizeof(params{}), unsafe.Sizeof(sqe{}), unsafe.Sizeof(cqe{}); p != 120 || s != 64 || c != 16 {
		t.Fatalf("params %d, sqe %d, cqe %d bytes; the kernel has 120, 64, 16", p, s, c)
	}
}

// Every socket gets its own bytes, whatever the ring's size is to the batch's.
func TestRingAndBatchSizes(t *testing.T) {
	ps := pairs(t, 300, 0) // more than maxSubmit
	for _, entries := range []int{1, 3, 8, 128, 300, 4096} {
		t.Run(fmt.Sprint(entries), func(t *testing.T) {
			r, log := newRing(t, entries)
			for round := range uint64(3) { // the indices wrap
				for i, p := range ps {
					r.Queue(p.fd, binary.BigEndian.AppendUint64(nil, round<<32|uint64(i)), uint64(i))
				}
				r.Flush()
				for i, p := range ps {
					var got [8]byte
					_, err := io.ReadFull(p.conn, got[:])
					must(t, err)
					if v := binary.BigEndian.Uint64(got[:]); v != round<<32|uint64(i) {
						t.Fatalf("socket %d got %#x in round %d", i, v, round)
					}
				}
			}
			if len(*log) != 0 {
				t.Fatalf("whole sends reported: %v", *log)
			}
		})
	}
}

func TestNothingToSend(t *testing.T) {
	r, log := newRing(t, 4)
	r.Flush()
	r.Queue(-1, nil, 1)
	r.Flush()
	if len(*log) != 0 || r.head != r.tail {
		t.Fatalf("reported %v", *log)
	}
}

// Streams of random pieces through small buffers arrive whole, in order, with
// every short send continued where its report says.
func TestStreamsThroughFullBuffers(t *testing.T) {
	const sockets, size = 20, 512 << 10
	noise := rand.NewChaCha8([32]byte{1})
	rng := rand.New(noise)
	want, rest := make([][]byte, sockets), make([][]byte, sockets)
	for i := range want {
		want[i] = make([]byte, size+rng.IntN(size))
		noise.Read(want[i])
		rest[i] = want[i]
	}
	ps := pairs(t, sockets, 4096)
	var readers sync.WaitGroup
	for i, p := range ps {
		readers.Go(func() {
			if err := compare(p.conn, want[i]); err != nil {
				t.Errorf("socket %d: %v", i, err)
				p.conn.Close() // the sender fails, and does not wait for room
			}
		})
	}
	shorts, fulls, cut := 0, 0, make([]int, sockets)
	r, err := New(16, func(i uint64, sent int, err unix.Errno) {
		switch {
		case err != unix.EAGAIN:
			t.Errorf("socket %d: %v", i, err)
			cut[i], rest[i] = 0, nil
			return
		case sent > 0:
			shorts++
		default:
			fulls++
		}
		cut[i] = sent
	})
	must(t, err)
	defer r.Close()
	for left := sockets; left > 0; {
		left = 0
		for i := range rest {
			cut[i] = min(len(rest[i]), 1+rng.IntN(200000))
			r.Queue(ps[i].fd, rest[i][:cut[i]], uint64(i))
		}
		r.Flush()
		for i := range rest {
			if rest[i] = rest[i][cut[i]:]; len(rest[i]) > 0 {
				left++
			}
		}
		waitRoom(t, ps, rest)
	}
	readers.Wait()
	if shorts == 0 || fulls == 0 {
		t.Fatalf("%d short sends and %d full sockets: both were to be tried", shorts, fulls)
	}
	t.Logf("%d short sends, %d full sockets", shorts, fulls)
}

// compare reads len(want) bytes and tells where they begin to differ.
func compare(r io.Reader, want []byte) error {
	buf := make([]byte, 64<<10)
	for at := 0; at < len(want); {
		n, err := r.Read(buf[:min(len(buf), len(want)-at)])
		if !bytes.Equal(buf[:n], want[at:at+n]) {
			return fmt.Errorf("bytes %d to %d of %d differ", at, at+n, len(want))
		}
		if at += n; err != nil && at < len(want) {
			return fmt.Errorf("after %d of %d bytes: %w", at, len(want), err)
		}
	}
	return nil
}

// waitRoom waits until one of the sockets with bytes left has room.
func waitRoom(t *testing.T, ps []*pair, rest [][]byte) {
	t.Helper()
	var fds []unix.PollFd
	for i, p := range ps {
		if len(rest[i]) > 0 {
			fds = append(fds, unix.PollFd{Fd: int32(p.fd), Events: unix.POLLOUT})
		}
	}
	if len(fds) == 0 {
		return
	}
	n, err := unix.Poll(fds, int(deadline.Milliseconds()))
	if err != unix.EINTR {
		must(t, err)
		if n == 0 {
			t.Fatal("no socket gets room")
		}
	}
}

// A short send reports exactly what went out, a full socket 0, and neither is
// sent later behind our back.
func TestShortSend(t *testing.T) {
	p := pairs(t, 1, 4096)[0]
	r, log := newRing(t, 4)
	big := make([]byte, 4<<20)
	for i := range big {
		big[i] = byte(i * 7 >> 3)
	}
	sent := 0
	for len(*log) == 0 || (*log)[len(*log)-1].sent > 0 {
		r.Queue(p.fd, big[sent:], 9)
		r.Flush()
		o := (*log)[len(*log)-1]
		if o.data != 9 || o.err != unix.EAGAIN {
			t.Fatalf("reported %+v", o)
		}
		sent += o.sent
	}
	if sent == 0 || sent == len(big) {
		t.Fatalf("%d bytes sent: the socket was to be full", sent)
	}
	unix.Close(p.fd)
	p.fd = -1
	got, err := io.ReadAll(p.conn)
	must(t, err)
	if !bytes.Equal(got, big[:sent]) {
		t.Fatalf("%d bytes arrived, %d reported", len(got), sent)
	}
}

// The poller hears of room after a short send and after a full socket, as
// after send(2): the rest would wait for ever otherwise.
func TestWritableAfterFailure(t *testing.T) {
	p := pairs(t, 1, 4096)[0]
	r, log := newRing(t, 4)
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	must(t, err)
	defer unix.Close(ep)
	must(t, unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, p.fd, &unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLET}))
	wait := func(ms int) int {
		for {
			n, err := unix.EpollWait(ep, make([]unix.EpollEvent, 1), ms)
			if err != unix.EINTR {
				must(t, err)
				return n
			}
		}
	}
	if wait(0) != 1 || wait(0) != 0 {
		t.Fatal("an empty socket is writable once")
	}
	big, read := make([]byte, 8<<20), make([]byte, 8<<20)
	for _, untilFull := range []bool{false, true} {
		total := 0
		for last := -1; last < 0 || untilFull && last > 0; {
			r.Queue(p.fd, big, 0)
			r.Flush()
			last = (*log)[len(*log)-1].sent
			total += last
		}
		_, err := io.ReadFull(p.conn, read[:total])
		must(t, err)
		if wait(int(deadline.Milliseconds())) != 1 {
			t.Fatalf("no event when there is room again (full: %v)", untilFull)
		}
	}
}

// A buffer longer than one request can carry goes out as far as it can.
func TestHugeBuffer(t *testing.T) {
	huge, err := unix.Mmap(-1, 0, maxLen+1, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	must(t, err)
	defer unix.Munmap(huge)
	p := pairs(t, 1, 4096)[0]
	r, log := newRing(t, 4)
	r.Queue(p.fd, huge, 1)
	r.Flush()
	if len(*log) != 1 || (*log)[0].sent == 0 || (*log)[0].err != unix.EAGAIN {
		t.Fatalf("reported %+v", *log)
	}
}

// Dead connections are reported each with its error, without a SIGPIPE, and
// hold up nobody else.
func TestDeadConnections(t *testing.T) {
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, unix.SIGPIPE)
	defer signal.Stop(pipe)
	ps := pairs(t, 4, 0)
	must(t, ps[0].conn.SetLinger(0))
	ps[0].conn.Close() // reset
	must(t, unix.Shutdown(ps[1].fd, unix.SHUT_WR))
	waitHangup(t, ps[0].fd)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	must(t, err)
	defer null.Close()

	r, log := newRing(t, 8)
	for i, fd := range []int{ps[0].fd, ps[1].fd, -1, int(null.Fd()), ps[2].fd, 1 << 30, ps[3].fd} {
		r.Queue(fd, []byte("x"), uint64(i))
	}
	r.Flush()
	want := map[uint64]unix.Errno{0: unix.ECONNRESET, 1: unix.EPIPE, 2: unix.EBADF, 3: unix.ENOTSOCK, 5: unix.EBADF}
	if len(*log) != len(want) {
		t.Errorf("reported %v", *log)
	}
	for _, o := range *log {
		if o.err != want[o.data] || o.sent != 0 {
			t.Errorf("%d: %v after %d bytes, want %v", o.data, o.err, o.sent, want[o.data])
		}
	}
	r.Queue(ps[0].fd, []byte("x"), 7) // its reset has been fetched
	r.Flush()
	if o := (*log)[len(*log)-1]; o != (outcome{7, 0, unix.EPIPE}) {
		t.Errorf("second send after a reset: %+v", o)
	}
	for _, p := range ps[2:] {
		must(t, compare(p.conn, []byte("x")))
	}
	select {
	case <-pipe:
		t.Error("SIGPIPE")
	default:
	}
}

func waitHangup(t *testing.T, fd int) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd)}}
	for {
		n, err := unix.Poll(fds, int(deadline.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		must(t, err)
		if n == 0 {
			t.Fatal("no hangup")
		}
		return
	}
}

// All requests are over when Flush returns: with successes reported as well,
// one submission brings an outcome for each, without waiting.
func TestFlushIsComplete(t *testing.T) {
	ps := pairs(t, 32, 4096)
	full := make([]byte, 4<<20)
	log := make(map[uint64]outcome)
	r, err := open(32, func(data uint64, sent int, err unix.Errno) {
		log[data] = outcome{data, sent, err}
	}, setupSubmitAll|setupCoopTaskrun)
	must(t, err)
	defer r.Close()
	for i := range r.sqes {
		r.sqes[i].flags &^= sqeSkipSuccess
	}
	for round := range 3 {
		clear(log)
		for i, p := range ps {
			b := full[:1]
			if i%3 == 0 {
				b = full
			}
			r.Queue(p.fd, b, uint64(i))
		}
		r.Flush()
		if len(log) != len(ps) {
			t.Fatalf("round %d: %d outcomes of %d", round, len(log), len(ps))
		}
		for i, o := range log {
			if whole := o.sent == 1; whole != (i%3 != 0) {
				t.Errorf("round %d: %+v", round, o)
			}
		}
	}
}

// After Flush the ring holds no file: closing the socket ends the connection,
// and its number can serve the next one at once.
func TestDescriptorReuse(t *testing.T) {
	r, log := newRing(t, 4)
	for range 50 {
		ps := pairs(t, 1, 0)
		fd := ps[0].fd
		r.Queue(fd, []byte("first"), 1)
		r.Flush()
		ps[0].fd = -1
		must(t, unix.Close(fd))
		got, err := io.ReadAll(ps[0].conn) // ends only if the file is gone
		must(t, err)
		if string(got) != "first" {
			t.Fatalf("got %q", got)
		}
		ps[0].conn.Close()

		next := pairs(t, 1, 0)[0]
		if next.fd != fd {
			must(t, unix.Dup3(next.fd, fd, unix.O_CLOEXEC))
			unix.Close(next.fd)
			next.fd = fd
		}
		r.Queue(fd, []byte("second"), 2)
		r.Flush()
		must(t, compare(next.conn, []byte("second")))
		next.close()
	}
	if len(*log) != 0 {
		t.Fatalf("reported %v", *log)
	}
}

// The ring alone keeps queued buffers alive and in place.
func TestBuffersSurviveCollection(t *testing.T) {
	ps := pairs(t, 64, 0)
	r, _ := newRing(t, 64)
	for i, p := range ps {
		r.Queue(p.fd, bytes.Repeat([]byte{byte(i)}, 1000), 0)
	}
	var garbage [1000][]byte
	for range 3 {
		runtime.GC()
		for i := range garbage {
			garbage[i] = bytes.Repeat([]byte{0xee}, 1000)
		}
		clear(garbage[:])
	}
	runtime.KeepAlive(&garbage)
	r.Flush()
	for i, p := range ps {
		must(t, compare(p.conn, bytes.Repeat([]byte{byte(i)}, 1000)))
	}
	for i, b := range r.hold {
		if b != nil {
			t.Fatalf("buffer %d kept after Flush", i)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	ps := pairs(t, 64, 0)
	must(t, unix.Shutdown(ps[5].fd, unix.SHUT_WR)) // a failure in each batch
	failed := 0
	r, err := New(32, func(uint64, int, unix.Errno) { failed++ })
	must(t, err)
	defer r.Close()
	b := []byte("x")
	n := testing.AllocsPerRun(100, func() {
		for i, p := range ps {
			r.Queue(p.fd, b, uint64(i))
		}
		r.Flush()
	})
	if n != 0 || failed != 101 {
		t.Fatalf("%v allocations, %d failures", n, failed)
	}
}
