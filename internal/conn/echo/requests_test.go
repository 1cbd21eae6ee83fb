package main

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/reactor"
)

// undeferred has the system hand over connections that have sent nothing.
func undeferred() *netpoll.Options {
	return &netpoll.Options{SendBuffer: 32 << 10, RecvBuffer: 16 << 10}
}

// Anything in place of a request gets an answer, however long it is.
func TestNoRequests(t *testing.T) {
	for _, row := range []struct {
		name, say string
		status    int
	}{
		{"garbage", "\x00\xff\xfe\r\n\r\n", 400},
		{"garbage without end", strings.Repeat("\xff", 4096), 400},
		{"a method without end", strings.Repeat("x", 4096), 400},
		{"a line without end", "GET /" + strings.Repeat("x", 4096), 431},
		{"fields without end", "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 1000), 431},
		{"blank lines without end", strings.Repeat("\r\n", 1000), 400},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"many requests that are no handshake", strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 100), 426},
		{"a body", strings.Replace(request("/", newKey()), "Host", "Content-Length: 1000000\r\nHost", 1) + strings.Repeat("x", 4096), 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := besiege(t, reactor.Limits{})
			c := connect(t, s.Addr())
			c.write([]byte(row.say))
			wait := flood(c, []byte(row.say), len(row.say))
			defer wait()
			resp, err := http.ReadResponse(c.in, nil)
			if err != nil || resp.StatusCode != row.status || !resp.Close {
				t.Errorf("want status %d and the end, got %+v, %v", row.status, resp, err)
			}
			s.until("the refusal to be counted", func() bool { return s.answered(row.status) == 1 })
		})
	}
}

// A second request behind the first is no frame.
func TestPipelinedHandshakes(t *testing.T) {
	s := besiege(t, reactor.Limits{})
	c := connect(t, s.Addr())
	key := newKey()
	c.write([]byte(request("/", key) + request("/", newKey())))
	if err := c.upgraded(key); err != nil {
		t.Fatal(err)
	}
	c.hearClose(1002)
	c.hearEnd()
	s.closed(reactor.Protocol, 1)
}

// The time for a handshake ends for whoever has not made it, silent or not.
func TestSlowHandshakes(t *testing.T) {
	const clients = 200
	s := besiege(t, reactor.Limits{HandshakeTimeout: 500 * time.Millisecond, MaxHeads: 4 * clients, Socket: undeferred()})
	var silent []*wire
	for i := range clients {
		c := connect(t, s.Addr())
		if i%2 == 0 {
			c.write([]byte("GET / HTTP/1.1\r\nX: "))
		}
		silent = append(silent, c)
	}
	s.until("all to be there", func() bool { return s.Stats().Connecting == clients || s.answered(408) > 0 })
	s.calm()
	for _, c := range silent {
		c.hearStatus(http.StatusRequestTimeout)
		c.hearEnd()
	}
	s.until("the refusals to be counted", func() bool { return s.answered(408) == clients })
}

// A head that comes byte by byte has no more time than one that does not.
func TestDrippingHead(t *testing.T) {
	s := besiege(t, reactor.Limits{HandshakeTimeout: 200 * time.Millisecond})
	c := connect(t, s.Addr())
	c.write([]byte("GET / HTTP/1.1\r\nX: "))
	wait := drip(c)
	c.hearStatus(http.StatusRequestTimeout)
	s.until("the refusal to be counted", func() bool { return s.answered(408) == 1 })
	wait()
}

// drip says a byte now and then until the connection breaks.
func drip(c *wire) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		pace := time.NewTicker(5 * time.Millisecond)
		defer pace.Stop()
		for {
			if _, err := c.conn.Write([]byte("x")); err != nil {
				if timedOut(err) {
					c.t.Error("who drips is still there")
				}
				return
			}
			<-pace.C
		}
	}()
	return func() { <-done }
}

// Heads by the hundred that are never finished: the oldest make room.
func TestHalfHeads(t *testing.T) {
	const clients, most = 400, 40
	s := besiege(t, reactor.Limits{HandshakeTimeout: 2 * time.Second, MaxHeads: most})
	var half []*wire
	for range clients {
		c := connect(t, s.Addr())
		c.write([]byte("GET / HTTP/1.1\r\nX: "))
		half = append(half, c)
	}
	s.until("the oldest to be refused", func() bool { return s.answered(503) >= clients-most })
	s.calm()
	for _, c := range half {
		resp, err := http.ReadResponse(c.in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if again := resp.Header.Get("Retry-After"); resp.StatusCode != 408 && (resp.StatusCode != 503 || again == "") {
			t.Errorf("got %s, Retry-After %q", resp.Status, again)
		}
	}
	s.until("all to be counted", func() bool { return s.answered(503)+s.answered(408) == clients })
}

// A client of another protocol hears so at the first byte that shows it, and
// not when the time for the handshake is over.
func TestOtherProtocols(t *testing.T) {
	s := besiege(t, reactor.Limits{HandshakeTimeout: 2 * patience, Socket: undeferred()})
	for _, row := range []struct{ name, say string }{
		{"TLS, its first byte", "\x16"},
		{"HTTP/2 without its preface", "\x00\x00\x00"},
		{"a greeting of SSH", "SSH-2.0-x\r\n"},
		{"JSON", "{"},
		{"two empty lines", "\r\n\r"},
	} {
		c := connect(t, s.Addr())
		c.write([]byte(row.say))
		c.hearStatus(http.StatusBadRequest)
		c.hearEnd()
	}
	c := connect(t, s.Addr())
	err := tls.Client(c.conn, &tls.Config{ServerName: "x"}).Handshake()
	if none := (tls.RecordHeaderError{}); !errors.As(err, &none) || !strings.HasPrefix(string(none.RecordHeader[:]), "HTTP") {
		t.Errorf("the TLS client heard %v", err)
	}
	c.conn.Close()
	s.until("the refusals to be counted", func() bool { return s.answered(400) == 6 })
}

// A request whose first line comes byte by byte is a request.
func TestDrippingMethod(t *testing.T) {
	s := besiege(t, reactor.Limits{Socket: undeferred()})
	c := connect(t, s.Addr())
	key := newKey()
	for _, b := range []byte("\r\n" + request("/", key)) {
		c.write([]byte{b})
	}
	if err := c.upgraded(key); err != nil {
		t.Fatal(err)
	}
	c.conn.Close()
}
