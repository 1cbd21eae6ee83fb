package reactor_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/testkit"
)

func TestRefusals(t *testing.T) {
	r := serve(t, reactor.Config{})
	without := func(line string) string { return strings.Replace(request, line+"\r\n", "", 1) }
	for _, row := range []struct {
		name, request string
		status        int
	}{
		{"no upgrade", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426},
		{"old version", strings.Replace(request, "Version: 13", "Version: 8", 1), 426},
		{"no version", without("Sec-WebSocket-Version: 13"), 426},
		{"no key", without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400},
		{"no host", without("Host: x"), 400},
		{"POST", strings.Replace(request, "GET", "POST", 1), 405},
		{"another path", strings.Replace(request, "GET /", "GET /x", 1), 404},
		{"HTTP/1.0", strings.Replace(request, "HTTP/1.1", "HTTP/1.0", 1), 505},
		{"not HTTP", "hello\r\n\r\n", 400},
		{"lines that end in LF", strings.ReplaceAll(request, "\r\n", "\n"), 400},
		{"TLS", "\x16\x03\x01\x02\x00\x01\r\n\r\n", 400},
		{"a field over the limit", strings.Replace(request, "Host", "X: "+strings.Repeat("x", 8<<10)+"\r\nHost", 1), 431},
		{"no end", "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 2000), 431},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := dialRaw(t, r)
			c.write(row.request)
			resp := c.want(row.status)
			if !resp.Close {
				t.Error("the response does not say that the connection closes")
			}
			c.wantGone()
		})
	}
	dialRaw(t, r).upgrade()
	testkit.WaitFor(t, "the handshakes to be counted", func() bool {
		n := map[int]uint64{}
		for i, k := range r.Stats().Handshakes {
			n[reactor.Outcome(i).Status()] = k
		}
		return n[101] == 1 && n[426] == 3 && n[405] == 1 && n[400] == 5 && n[431] == 2
	})
}

// A client that sends more behind a request that is refused sees the end of the
// stream, not a reset that could cost it the response.
func TestMoreBehindRefusedRequest(t *testing.T) {
	r := serve(t, reactor.Config{})
	c := dialRaw(t, r)
	c.write(strings.Replace(request, "GET /", "GET /x", 1) + strings.Repeat("x", 200<<10))
	c.want(http.StatusNotFound)
	c.wantEOF()
}

// A head may come in any pieces, and what follows it belongs to the WebSocket.
func TestHeadInPieces(t *testing.T) {
	r := serve(t, reactor.Config{})
	for _, step := range []int{1, 7, 100, len(request)} {
		c := dialRaw(t, r)
		sent := request + text("a") + text("b") + text("c")[:3]
		for len(sent) > 0 {
			n := min(step, len(sent))
			c.write(sent[:n])
			sent = sent[n:]
		}
		c.want(http.StatusSwitchingProtocols)
		c.wantText("a")
		c.wantText("b")
		c.write(text("c")[3:])
		c.wantText("c")
	}
}

func TestSlowHandshake(t *testing.T) {
	// Nothing deferred, so that the silent one is accepted at once too.
	r := serve(t, reactor.Config{Limits: reactor.Limits{
		HandshakeTimeout: 50 * time.Millisecond,
		Socket:           &netpoll.Options{},
	}})
	var slow []*raw
	for range 20 {
		c := dialRaw(t, r)
		c.write("GET / HTTP/1.1\r\n")
		slow = append(slow, c)
	}
	dialRaw(t, r).upgrade().write(text("x"))
	for _, c := range slow {
		c.want(http.StatusRequestTimeout)
		c.wantEOF()
	}
	silent := dialRaw(t, r)
	silent.want(http.StatusRequestTimeout)
}

// A client that sends nothing is answered within twice the timeout, though the
// kernel may keep it from being accepted for a while.
func TestSilentHandshake(t *testing.T) {
	const timeout = 1500 * time.Millisecond
	r := serve(t, reactor.Config{Limits: reactor.Limits{HandshakeTimeout: timeout}})
	began := time.Now()
	dialRaw(t, r).want(http.StatusRequestTimeout)
	if took := time.Since(began); took < timeout || took > 2*timeout+timeout/2 {
		t.Errorf("answered after %v with a timeout of %v", took, timeout)
	}
}

func TestTooManyHeads(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{Loops: 1, MaxHeads: 2}})
	var slow []*raw
	for i := range 4 {
		c := dialRaw(t, r)
		c.write("GET / HTTP/1.1\r\n")
		slow = append(slow, c)
		testkit.WaitFor(t, "the head to be kept", func() bool { return r.Stats().HeadBytes >= 256*min(i+1, 2) })
	}
	for _, c := range slow[:2] {
		c.want(http.StatusServiceUnavailable)
	}
	if n := r.Refused()[reactor.OverHeads]; n != 2 {
		t.Errorf("%d refusals were counted, want 2", n)
	}
	for _, c := range slow[2:] {
		c.write(strings.TrimPrefix(request, "GET / HTTP/1.1\r\n"))
		c.want(http.StatusSwitchingProtocols)
	}
}

// wantRefused checks that a connection is turned away with a time to wait.
func wantRefused(t *testing.T, c *raw) {
	t.Helper()
	c.write(request)
	if resp := c.want(http.StatusServiceUnavailable); resp.Header.Get("Retry-After") == "" {
		t.Error("the response does not say when to come back")
	}
	c.wantGone()
}

func TestConnectionBudget(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{MaxConnections: 3}})
	var held []*raw
	for range 3 {
		held = append(held, dialRaw(t, r).upgrade())
	}
	for range 5 {
		wantRefused(t, dialRaw(t, r))
	}
	if n := r.Refused()[reactor.OverBudget]; n != 5 {
		t.Errorf("%d refusals were counted, want 5", n)
	}
	held[0].Close()
	testkit.WaitFor(t, "a place", func() bool { return r.Stats().Open < 3 })
	c := dialRaw(t, r).upgrade()
	c.write(text("in"))
	c.wantText("in")
	held[1].write(text("still here"))
	held[1].wantText("still here")
}

func TestPerIP(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{MaxPerIP: 2}})
	a, _ := dialRaw(t, r).upgrade(), dialRaw(t, r).upgrade()
	wantRefused(t, dialRaw(t, r))
	a.Close()
	testkit.WaitFor(t, "a place", func() bool { return r.Stats().Open < 2 })
	dialRaw(t, r).upgrade()
	if n := r.Refused()[reactor.OverPerIP]; n != 1 {
		t.Errorf("%d refusals were counted, want 1", n)
	}
}

func TestUpgradeRate(t *testing.T) {
	r := serve(t, reactor.Config{Handler: admitting(), Limits: reactor.Limits{Loops: 2, UpgradeRate: 0.001, UpgradeQueue: 2}})
	dialRaw(t, r).upgrade()
	waits := dialRaw(t, r)
	waits.write(request)
	testkit.WaitFor(t, "it to wait for its turn", func() bool { return r.Stats().Waiting == 1 })
	wantRefused(t, dialRaw(t, r))
	if n := r.Refused()[reactor.OverRate]; n != 1 {
		t.Errorf("%d refusals were counted, want 1", n)
	}
}

// Half a request, a request that is refused and a connection that sends nothing
// take no turn from others.
func TestOnlyAdmittedRequestsCount(t *testing.T) {
	r := serve(t, reactor.Config{Handler: admitting(), Limits: reactor.Limits{Loops: 2, MaxPerIP: 4, UpgradeRate: 0.001, UpgradeQueue: 1}})
	for range 20 {
		half := dialFrom(t, r, "127.0.0.2")
		half.write("GET / HTTP/1.1\r\n")
		half.Close()
		wrong := dialFrom(t, r, "127.0.0.3")
		wrong.write(strings.Replace(request, "GET /", "GET /x", 1))
		wrong.want(http.StatusNotFound)
		wrong.Close()
		dialFrom(t, r, "127.0.0.4").Close()
	}
	testkit.WaitFor(t, "them to be gone", func() bool {
		s := r.Stats()
		return s.Connecting+s.Closing == 0
	})
	dialRaw(t, r).upgrade()
	if n := r.Refused(); n != ([len(n)]uint64{}) {
		t.Errorf("refused: %v, want none", n)
	}
}

// Requests that are refused for the rate of their address come back later, and
// take no turn from others.
func TestUpgradeRatePerIP(t *testing.T) {
	r := serve(t, reactor.Config{Handler: admitting(), Limits: reactor.Limits{Loops: 2, UpgradeRate: 1000, UpgradeRatePerIP: 0.001}})
	dialFrom(t, r, "127.0.0.2").upgrade()
	dialFrom(t, r, "127.0.0.2").upgrade()
	for range 5 {
		wantRefused(t, dialFrom(t, r, "127.0.0.2"))
	}
	dialFrom(t, r, "127.0.0.3").upgrade()
	if n := r.Refused(); n[reactor.OverRatePerIP] != 5 || n[reactor.OverRate] != 0 {
		t.Errorf("refused: %d for the address, %d for the rate of all; want 5 and 0", n[reactor.OverRatePerIP], n[reactor.OverRate])
	}
}

// A crowd that comes at once, and again when it is told to, gets in.
func TestConnectStorm(t *testing.T) {
	const crowd, perSecond = 400, 100 // so that a busy machine still makes a crowd of them
	r := serve(t, reactor.Config{Handler: admitting(), Limits: reactor.Limits{UpgradeRate: perSecond, UpgradeQueue: 100}})
	var mu sync.Mutex // guards what follows
	in, tries, longest := 0, 0, 0
	var coming sync.WaitGroup
	for range crowd {
		coming.Go(func() {
			for {
				c := dialRaw(t, r)
				c.write(request)
				resp, err := http.ReadResponse(c.in, nil)
				if err != nil {
					t.Error(err)
					return
				}
				wait, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
				mu.Lock()
				tries++
				longest = max(longest, wait)
				if resp.StatusCode == http.StatusSwitchingProtocols {
					in++
				}
				mu.Unlock()
				switch {
				case resp.StatusCode == http.StatusSwitchingProtocols:
					return
				case resp.StatusCode != http.StatusServiceUnavailable || wait == 0:
					t.Errorf("got %s, Retry-After %d", resp.Status, wait)
					return
				}
				c.Close()
				<-time.After(time.Duration(wait) * time.Second)
			}
		})
	}
	coming.Wait()
	if refused := int(r.Refused()[reactor.OverRate]); in != crowd || refused != tries-crowd || refused < crowd/4 {
		t.Errorf("%d of %d are in after %d tries, %d of which were refused", in, crowd, tries, refused)
	}
	if longest < 2 {
		t.Error("all were told to come back at once")
	}
}

// Requests that came at once begin one after the other, and in order: a crowd
// takes no more of anybody's time than the rate allows.
func TestAdmittedRequestsArePaced(t *testing.T) {
	const crowd = 30
	r := serve(t, reactor.Config{Handler: admitting(), Limits: reactor.Limits{Loops: 1, UpgradeRate: 100, UpgradeQueue: 2 * crowd}})
	began := time.Now()
	var in []*raw
	for i := range crowd {
		c := dialRaw(t, r)
		c.write(request + text(fmt.Sprintf("early %02d", i)))
		in = append(in, c)
	}
	for i, c := range in {
		c.want(http.StatusSwitchingProtocols)
		// As many as are due, and those of one slack.
		if least := time.Duration(i-1) * 10 * time.Millisecond; time.Since(began) < least-5*time.Millisecond {
			t.Fatalf("number %d is in after %v", i, time.Since(began))
		}
		c.wantText(fmt.Sprintf("early %02d", i))
		c.write(text("in"))
		c.wantText("in")
	}
}

// Connections that wait for their turn are closed with all others.
func TestShutdownAmongWaiting(t *testing.T) {
	r := serve(t, reactor.Config{Handler: admitting(), Limits: reactor.Limits{Loops: 1, UpgradeRate: 0.1, UpgradeQueue: 10}})
	dialRaw(t, r).upgrade()
	var waiting []*raw
	for i := range 4 {
		c := dialRaw(t, r)
		c.write(request)
		waiting = append(waiting, c)
		testkit.WaitFor(t, "it to wait for its turn", func() bool { return r.Stats().Waiting == i+1 })
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range waiting {
		c.want(http.StatusSwitchingProtocols)
		c.wantClose(int(proto.CloseGoingAway))
	}
}

func TestListenErrors(t *testing.T) {
	r := serve(t, reactor.Config{})
	for _, cfg := range []reactor.Config{
		{Listen: r.Addr().String()},
		{Listen: "127.0.0.1"},
		{Listen: "127.0.0.1:0", Limits: reactor.Limits{MaxMessage: -1}},
		{Listen: "127.0.0.1:0", Limits: reactor.Limits{PingInterval: time.Millisecond}},
	} {
		cfg.Handler = newHooks(nil)
		if r, err := reactor.New(cfg); err == nil {
			r.Close()
			t.Errorf("%+v: no error", cfg)
		}
	}
}

func TestIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Logf("this machine has no IPv6: %v", err)
		return
	} else {
		l.Close()
	}
	r := serve(t, reactor.Config{Listen: "[::1]:0", Limits: reactor.Limits{MaxPerIP: 1}})
	c := dialRaw(t, r).upgrade()
	c.write(frame(ws.NewBinaryFrame([]byte{1})))
	c.next(ws.OpBinary)
	wantRefused(t, dialRaw(t, r))
}
