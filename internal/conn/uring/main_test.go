//go:build linux && !fallback

package uring

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain checks that the tests together leave no ring; a benchmark runs it
// as its reading process.
func TestMain(m *testing.M) {
	if arg := os.Getenv(readerEnv); arg != "" {
		if err := readerMain(arg); err != nil {
			fmt.Fprintln(os.Stderr, "benchmark's reader:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if n := ringsOpen(); n != 0 {
		fmt.Fprintf(os.Stderr, "%d io_uring descriptors and mappings left\n", n)
		code = 1
	}
	os.Exit(code)
}

// ringsOpen counts this process's io_uring descriptors and mappings.
func ringsOpen() (n int) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.Contains(to, "io_uring") {
			n++
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	return n + strings.Count(string(maps), "io_uring")
}

// deadline bounds every wait of a test.
const deadline = 20 * time.Second

// pair is a TCP connection over loopback: fd sends, conn receives.
type pair struct {
	fd   int // non-blocking; -1 once closed
	conn *net.TCPConn
}

func (p *pair) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
	p.conn.Close()
}

// pairs connects n pairs, with send buffers of buf bytes if it is above 0.
func pairs(t testing.TB, n, buf int) []*pair {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer l.Close()
	ps := make([]*pair, n)
	for i := range ps {
		ps[i] = connect(t, l, buf)
		t.Cleanup(ps[i].close)
	}
	return ps
}

func connect(t testing.TB, l *net.TCPListener, buf int) *pair {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	if buf > 0 {
		must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, buf))
	}
	addr := l.Addr().(*net.TCPAddr)
	must(t, unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte(addr.IP.To4()), Port: addr.Port}))
	must(t, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	must(t, unix.SetNonblock(fd, true))
	c, err := l.AcceptTCP()
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(deadline)))
	return &pair{fd, c}
}

// newRing returns a ring and the log of what it reports.
func newRing(t testing.TB, entries int) (*Ring, *[]outcome) {
	t.Helper()
	log := new([]outcome)
	r, err := New(entries, func(data uint64, sent int, err unix.Errno) {
		*log = append(*log, outcome{data, sent, err})
	})
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	return r, log
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
