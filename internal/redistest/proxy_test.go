package redistest_test

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"pushd.example/internal/redistest"
)

func newProxy(t *testing.T) (*redistest.Server, *redistest.Proxy) {
	s := redistest.Start(t, redistest.Options{})
	return s, redistest.NewProxy(t, s.Addr())
}

func TestProxyPasses(t *testing.T) {
	s, p := newProxy(t)
	do(t, s, "SET", "k", strings.Repeat("x", 1<<20))
	c := dial(t, p.Addr())
	if _, err := c.Write([]byte("GET k\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for _, want := range []string{"$1048576\r\n", strings.Repeat("x", 1<<20) + "\r\n", "+PONG\r\n"} {
		if got, err := r.ReadString('\n'); got != want || err != nil {
			t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	if p.URL() != "redis://"+p.Addr()+"/0" {
		t.Errorf("URL %s", p.URL())
	}
}

func TestProxyLosesReply(t *testing.T) {
	s, p := newProxy(t)
	c := dial(t, p.Addr())
	lost := p.LoseReply("INCR")
	ask(t, c, "PING\r\n")
	if _, err := c.Write([]byte("INCR k\r\n")); err != nil {
		t.Fatal(err)
	}
	wantCut(t, c)
	<-lost
	if n := do(t, s, "GET", "k"); n != "1" {
		t.Errorf("what was asked for was done %v times, want 1", n)
	}
	ask(t, dial(t, p.Addr()), "INCR k\r\n") // once only
}

func TestProxyLosesRequest(t *testing.T) {
	s, p := newProxy(t)
	c := dial(t, p.Addr())
	lost := p.LoseRequest("INCR")
	ask(t, c, "PING\r\n")
	if _, err := c.Write([]byte("INCR k\r\n")); err != nil {
		t.Fatal(err)
	}
	wantCut(t, c)
	<-lost
	if n := do(t, s, "EXISTS", "k"); n != int64(0) {
		t.Errorf("what was lost was done")
	}
}

func TestProxyCutsAndRefuses(t *testing.T) {
	_, p := newProxy(t)
	c := dial(t, p.Addr())
	ask(t, c, "PING\r\n")
	p.Refuse(true)
	p.Cut()
	wantCut(t, c)
	wantCut(t, dial(t, p.Addr()))
	p.Refuse(false)
	ask(t, dial(t, p.Addr()), "PING\r\n")
}

func TestProxyStalls(t *testing.T) {
	s, p := newProxy(t)
	c := dial(t, p.Addr())
	p.Stall()
	if _, err := c.Write([]byte("SET k v\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came through", n)
	}
	if n := do(t, s, "EXISTS", "k"); n != int64(0) {
		t.Error("the request came through")
	}
	p.Flow()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if got := ask(t, c, "PING\r\n"); !strings.HasPrefix(got, "+OK") {
		t.Errorf("after the stall: %q", got)
	}
	p.Stall() // and the test ends
}

func TestProxyDelaysAndRewrites(t *testing.T) {
	_, p := newProxy(t)
	p.Rewrite("redis_version:7", "redis_version:6")
	p.Delay(50 * time.Millisecond)
	c, since := dial(t, p.Addr()), time.Now()
	if got := ask(t, c, "INFO server\r\n"); !strings.Contains(got, "redis_version:6.") {
		t.Errorf("the version was not rewritten:\n%s", got)
	}
	if took := time.Since(since); took < 50*time.Millisecond {
		t.Errorf("the answer came after %v", took)
	}
}

func wantCut(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("got %d bytes, want the connection to be cut", n)
	}
}
