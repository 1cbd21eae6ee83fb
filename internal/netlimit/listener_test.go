package netlimit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pushd.example/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func listen(t *testing.T, c Config) *Listener {
	t.Helper()
	var err error
	c.Name = "http"
	c.Metrics, err = NewMetrics(prometheus.NewRegistry())
	testkit.Must(t, err)
	l, err := Listen(t.Context(), "127.0.0.1:0", c)
	testkit.Must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// serve serves requests, each of which is answered after release is closed if its
// path is /wait.
func serve(t *testing.T, l *Listener, release <-chan struct{}) {
	t.Helper()
	srv := &http.Server{ConnState: l.ConnState, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			<-release
		}
		fmt.Fprint(w, "ok")
	})}
	var done sync.WaitGroup
	done.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() { _ = srv.Close(); done.Wait() })
}

type client struct {
	net.Conn
	t   *testing.T
	buf *bufio.Reader
}

func dial(t *testing.T, l *Listener) *client {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	testkit.Must(t, err)
	testkit.Must(t, c.SetDeadline(time.Now().Add(testkit.Patience)))
	t.Cleanup(func() { _ = c.Close() })
	return &client{c, t, bufio.NewReader(c)}
}

func (c *client) send(path string) {
	c.t.Helper()
	_, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
	testkit.Must(c.t, err)
}

func (c *client) read() {
	c.t.Helper()
	resp, err := http.ReadResponse(c.buf, nil)
	testkit.Must(c.t, err)
	_, err = io.ReadAll(resp.Body)
	testkit.Must(c.t, err)
}

// gone waits until the server has closed the connection.
func (c *client) gone() {
	c.t.Helper()
	if _, err := c.buf.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("the connection is still open: %v", err)
	}
}

// idlers returns the peers of the idle connections, that which has been idle for
// longest first.
func (l *Listener) idlers() (peers []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.idle.Front(); e != nil; e = e.Next() {
		peers = append(peers, e.Value.(*Conn).RemoteAddr().String())
	}
	return peers
}

// awaitIdle waits until the given connections are idle, in this order, and no other.
func awaitIdle(t *testing.T, l *Listener, clients ...*client) {
	t.Helper()
	var want []string
	for _, c := range clients {
		want = append(want, c.LocalAddr().String())
	}
	testkit.WaitFor(t, "connections to be idle", func() bool { return slices.Equal(l.idlers(), want) })
}

// TestIdleMakesRoom: at the limit the connection that has been idle for longest is
// closed, and no connection with a request.
func TestIdleMakesRoom(t *testing.T) {
	l := listen(t, Config{Max: 3})
	release := make(chan struct{})
	serve(t, l, release)
	busy, first, second := dial(t, l), dial(t, l), dial(t, l)
	busy.send("/wait")
	awaitIdle(t, l, first, second)
	first.send("/")
	first.read()
	awaitIdle(t, l, second, first)
	third := dial(t, l)
	second.gone()
	third.send("/")
	third.read()
	awaitIdle(t, l, first, third)
	silent := dial(t, l) // sends nothing and is idle too
	first.gone()
	awaitIdle(t, l, third, silent)
	fourth, fifth := dial(t, l), dial(t, l)
	third.gone()
	silent.gone()
	for _, c := range []*client{fourth, fifth} {
		c.send("/")
		c.read()
	}
	close(release)
	busy.read()
	if n := testutil.ToFloat64(l.idleClosed); n != 4 {
		t.Errorf("%v idle connections were closed, want 4", n)
	}
}

// TestFullWaits: while all connections are busy the next one waits, and is served
// when one of them becomes idle.
func TestFullWaits(t *testing.T) {
	l := listen(t, Config{Max: 2})
	release := make(chan struct{})
	serve(t, l, release)
	busy := []*client{dial(t, l), dial(t, l)}
	for _, c := range busy {
		c.send("/wait")
	}
	testkit.WaitFor(t, "the requests to be served", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return testutil.ToFloat64(l.connections) == 2 && l.idle.Len() == 0
	})
	next := dial(t, l)
	next.send("/")
	testkit.WaitFor(t, "the next one to wait", func() bool { return testutil.ToFloat64(l.waits) == 1 })
	if n := testutil.ToFloat64(l.connections); n != 2 {
		t.Errorf("%v connections, want 2", n)
	}
	close(release)
	next.read() // although the others keep their connections
	for _, c := range busy {
		c.read()
	}
}

// TestClose: Close ends an Accept that waits for a slot.
func TestClose(t *testing.T) {
	l := listen(t, Config{Max: 1})
	dial(t, l)
	first, err := l.Accept()
	testkit.Must(t, err)
	defer first.Close()
	dial(t, l)
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	testkit.WaitFor(t, "Accept to wait", func() bool { return testutil.ToFloat64(l.waits) == 1 })
	testkit.Must(t, l.Close())
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}

// TestUnread: a write that the peer does not read is given up.
func TestUnread(t *testing.T) {
	l := listen(t, Config{Max: 1, WriteTimeout: time.Millisecond})
	dial(t, l)
	c, err := l.Accept()
	testkit.Must(t, err)
	defer c.Close()
	n, err := c.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 64<<20 {
		t.Errorf("wrote %d bytes: %v", n, err)
	}
	if n := testutil.ToFloat64(l.unread); n != 1 {
		t.Errorf("%v counted, want 1", n)
	}
}

// TestWrite: a long write arrives whole.
func TestWrite(t *testing.T) {
	l := listen(t, Config{Max: 1})
	peer := dial(t, l)
	c, err := l.Accept()
	testkit.Must(t, err)
	const size = 1<<20 + 17
	go func() {
		_, _ = c.Write(make([]byte, size))
		_ = c.Close()
	}()
	got, err := io.ReadAll(peer)
	testkit.Must(t, err)
	if len(got) != size {
		t.Errorf("%d bytes arrived, want %d", len(got), size)
	}
}
