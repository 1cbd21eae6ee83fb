//go:build linux && !fallback

package uring

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The benchmarks send a 150-byte frame to each of many sockets per round, to
// another process that reads them all before the next round starts. They
// report this process's CPU time per message, that of a loop of plain sends
// taken in turn, and the ratio of both:
//
//	go test -run '^$' -bench . -sockets 15000 ./internal/conn/uring
var benchSockets = flag.Int("sockets", 4000, "sockets that the benchmarks send to")

const (
	frameLen  = 150
	readerEnv = "URING_BENCH_READER" // "address sockets": be the reading process
)

// A way is one way to send b to every fd.
type way func(fds []int, b []byte)

// BenchmarkSendto is one system call a send.
func BenchmarkSendto(b *testing.B) {
	fds, round := fanOut(b)
	b.Run("raw", func(b *testing.B) { measure(b, fds, round, 1, sendto(b, unix.RawSyscall6)) })
	b.Run("scheduled", func(b *testing.B) { measure(b, fds, round, 1, sendto(b, unix.Syscall6)) })
}

// BenchmarkRing is the ring as New makes it.
func BenchmarkRing(b *testing.B) {
	fds, round := fanOut(b)
	for _, entries := range []int{1, 2, 3, 4, 16, 64, 128, 512, 2048} {
		b.Run(fmt.Sprint("entries=", entries), func(b *testing.B) {
			r, err := New(entries, failBench(b))
			must(b, err)
			defer r.Close()
			measure(b, fds, round, 1, sendAll(r))
		})
	}
	for _, messages := range []int{2, 4, 8} {
		b.Run(fmt.Sprint("concatenated=", messages), func(b *testing.B) {
			r, err := New(128, failBench(b))
			must(b, err)
			defer r.Close()
			measure(b, fds, round, messages, sendAll(r))
		})
	}
}

// BenchmarkVariants is what has been tried on the ring (128 entries) and is not
// in it, beside what is (coop).
func BenchmarkVariants(b *testing.B) {
	const (
		singleIssuer, deferTaskrun = 1 << 12, 1 << 13
		sqeFixedFile               = 1 << 0
	)
	fds, round := fanOut(b)
	run := func(name string, setup uint32, change func(*Ring) way) {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r, err := open(128, failBench(b), setup)
			must(b, err)
			defer r.Close()
			send := sendAll(r)
			if change != nil {
				send = change(r)
			}
			measure(b, fds, round, 1, send)
		})
	}
	run("plain", setupSubmitAll, nil)
	run("coop", setupSubmitAll|setupCoopTaskrun, nil)
	run("single-issuer", setupSubmitAll|singleIssuer, nil)
	run("defer-taskrun", setupSubmitAll|singleIssuer|deferTaskrun, nil)
	run("every-completion", setupSubmitAll|setupCoopTaskrun, func(r *Ring) way {
		r.fail = func(uint64, int, unix.Errno) {}
		for i := range r.sqes {
			r.sqes[i].flags &^= sqeSkipSuccess
		}
		return sendAll(r)
	})
	run("fixed-files", setupSubmitAll|setupCoopTaskrun, func(r *Ring) way {
		began := time.Now()
		registerFiles(b, r, fds)
		b.Logf("registering: %v a socket", time.Since(began)/time.Duration(len(fds)))
		for i := range r.sqes {
			r.sqes[i].flags |= sqeFixedFile
		}
		return sendAll(r)
	})
	run("registered-ring", setupSubmitAll|setupCoopTaskrun, func(r *Ring) way {
		return sendAllBy(r, registerRing(b, r), 1<<4, unix.RawSyscall6)
	})
}

// BenchmarkSubmit is how many sends to submit at once, and whether to tell the
// scheduler.
func BenchmarkSubmit(b *testing.B) {
	fds, round := fanOut(b)
	for _, how := range []struct {
		name string
		call syscall6
	}{{"raw", unix.RawSyscall6}, {"scheduled", unix.Syscall6}} {
		for _, entries := range []int{32, 64, 128, 256, 512, 1024, 2048} {
			b.Run(fmt.Sprintf("%s=%d", how.name, entries), func(b *testing.B) {
				r, err := New(entries, failBench(b))
				must(b, err)
				defer r.Close()
				measure(b, fds, round, 1, sendAllBy(r, r.fd, 0, how.call))
			})
		}
	}
}

// syscall6 is unix.Syscall6, which tells the scheduler, or unix.RawSyscall6.
type syscall6 func(trap, a1, a2, a3, a4, a5, a6 uintptr) (uintptr, uintptr, unix.Errno)

func sendto(b *testing.B, call syscall6) way {
	return func(fds []int, p []byte) {
		for _, fd := range fds {
			n, _, errno := call(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
				unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
			if errno != 0 || int(n) != len(p) {
				b.Fatalf("sent %d: %v", n, errno)
			}
		}
	}
}

func sendAll(r *Ring) way {
	return func(fds []int, p []byte) {
		for _, fd := range fds {
			r.Queue(fd, p, uint64(fd))
		}
		r.Flush()
	}
}

// sendAllBy is sendAll with a system call of its own.
func sendAllBy(r *Ring, fd, flags int, call syscall6) way {
	return func(fds []int, p []byte) {
		for len(fds) > 0 {
			n := min(len(fds), len(r.sqes))
			for _, fd := range fds[:n] {
				r.Queue(fd, p, uint64(fd))
			}
			fds = fds[n:]
			*r.sqTail = r.tail
			call(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(n), 0, uintptr(flags), 0, 0)
			r.reap()
			r.head = r.tail
		}
	}
}

// registerFiles gives the ring a table of files in which fd is at index fd.
func registerFiles(b *testing.B, r *Ring, fds []int) {
	const registerFiles2, filesUpdate, sparse = 13, 6, 1
	table := struct {
		n, flags            uint32
		resv2, data, tagged uint64
	}{n: 20000, flags: sparse}
	register(b, r, registerFiles2, unsafe.Pointer(&table), int(unsafe.Sizeof(table)))
	for _, fd := range fds { // one by one, as connections come
		file := int32(fd)
		update := struct {
			offset, resv uint32
			fds          uint64
		}{offset: uint32(fd), fds: uint64(uintptr(unsafe.Pointer(&file)))}
		register(b, r, filesUpdate, unsafe.Pointer(&update), 1)
		runtime.KeepAlive(&file)
	}
}

// registerRing returns the ring's number in the thread's table of rings.
func registerRing(b *testing.B, r *Ring) int {
	update := struct {
		offset, resv uint32
		data         uint64
	}{offset: ^uint32(0), data: uint64(r.fd)}
	register(b, r, 20, unsafe.Pointer(&update), 1)
	return int(update.offset)
}

func register(b *testing.B, r *Ring, op int, arg unsafe.Pointer, n int) {
	b.Helper()
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), uintptr(op), uintptr(arg), uintptr(n), 0, 0)
	if errno != 0 {
		b.Fatalf("io_uring_register %d: %v", op, errno)
	}
}

func failBench(b *testing.B) Fail {
	return func(fd uint64, sent int, err unix.Errno) { b.Errorf("fd %d: %v after %d bytes", fd, err, sent) }
}

// measure sends messages frames at once to every fd, round by round, and in
// turn with it a frame to every fd by plain sends, so that a noisy machine is
// as noisy for both. The figures are the median rounds'.
func measure(b *testing.B, fds []int, round func(messages int), messages int, send way) {
	frame := make([]byte, frameLen*messages)
	var ours, plain []time.Duration
	turn := func(times *[]time.Duration, send way, messages int) {
		began := processTime(b)
		send(fds, frame[:messages*frameLen])
		*times = append(*times, (processTime(b)-began)/time.Duration(messages))
		round(messages)
	}
	for b.Loop() {
		turn(&plain, sendto(b, unix.RawSyscall6), 1)
		turn(&ours, send, messages)
	}
	median := func(times []time.Duration) float64 {
		slices.Sort(times)
		return times[len(times)/2].Seconds() / float64(len(fds)) * 1e6
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "cpu-µs/message")
	b.ReportMetric(median(plain), "sendto-µs")
	b.ReportMetric(median(ours)/median(plain), "of-sendto")
}

func processTime(b *testing.B) time.Duration {
	var t unix.Timespec
	must(b, unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t))
	return time.Duration(t.Nano())
}

// fanOut starts the reading process and accepts its connections. round waits
// until it has read so many messages from each.
func fanOut(b *testing.B) (fds []int, round func(messages int)) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(b, err)
	defer l.Close()
	self, err := os.Executable()
	must(b, err)
	reader := exec.Command(self)
	reader.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", readerEnv, l.Addr(), *benchSockets))
	reader.Stderr = os.Stderr
	tell, err := reader.StdinPipe()
	must(b, err)
	done, err := reader.StdoutPipe()
	must(b, err)
	must(b, reader.Start())
	b.Cleanup(func() {
		tell.Close() // the reader's end
		reader.Wait()
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
	for range *benchSockets {
		fds = append(fds, accept(b, l))
	}
	return fds, func(messages int) {
		must(b, binary.Write(tell, binary.LittleEndian, uint64(messages*frameLen**benchSockets)))
		_, err := io.ReadFull(done, make([]byte, 1))
		must(b, err)
	}
}

// accept returns a descriptor that the Go runtime does not know of.
func accept(b *testing.B, l net.Listener) int {
	c, err := l.Accept()
	must(b, err)
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	must(b, err)
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(b, err)
	must(b, unix.SetNonblock(fd, true))
	must(b, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	return fd
}

// readerMain is the reading process: for every count of bytes on standard
// input it reads as many from its sockets, then writes a byte.
func readerMain(arg string) error {
	var addr string
	var n int
	if _, err := fmt.Sscan(arg, &addr, &n); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	to := unix.SockaddrInet4{Addr: [4]byte(net.ParseIP(host).To4())}
	if to.Port, err = strconv.Atoi(port); err != nil {
		return err
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, &to); err != nil {
			return err
		}
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return err
		}
	}
	return readRounds(ep)
}

// readRounds reads at all times; the counts only say when to answer.
func readRounds(ep int) error {
	stdin := unix.EpollEvent{Events: unix.EPOLLIN, Fd: 0}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, 0, &stdin); err != nil {
		return err
	}
	var got, want uint64
	events, buf := make([]unix.EpollEvent, 256), make([]byte, 64<<10)
	for {
		n, err := unix.EpollWait(ep, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, ev := range events[:max(n, 0)] {
			n, err := unix.Read(int(ev.Fd), buf)
			switch {
			case err != nil || n == 0:
				return err // the sender is done
			case ev.Fd == 0:
				want = binary.LittleEndian.Uint64(buf)
			default:
				got += uint64(n)
			}
		}
		if want > 0 && got == want {
			got, want = 0, 0
			if _, err := os.Stdout.Write([]byte{1}); err != nil {
				return err
			}
		}
	}
}
