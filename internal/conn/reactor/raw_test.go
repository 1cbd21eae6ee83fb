package reactor_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"pushd.example/internal/conn/reactor"
)

// request is a handshake as a browser's library would send it.
const request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// raw is a connection on which a test says what no library would.
type raw struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func dialRaw(t testing.TB, r *reactor.Reactor) *raw {
	t.Helper()
	return dialAddr(t, r.Addr().String())
}

func dialAddr(t testing.TB, addr string) *raw {
	t.Helper()
	return dialWith(t, net.Dialer{}, addr)
}

// dialFrom connects from an address of this machine.
func dialFrom(t testing.TB, r *reactor.Reactor, from string) *raw {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("this system has one address of its own only")
	}
	return dialWith(t, net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}, r.Addr().String())
}

func dialWith(t testing.TB, d net.Dialer, addr string) *raw {
	t.Helper()
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &raw{t, c, bufio.NewReader(c)}
}

// upgrade makes the connection a WebSocket.
func (c *raw) upgrade() *raw {
	c.t.Helper()
	c.write(request)
	c.want(http.StatusSwitchingProtocols)
	return c
}

func (c *raw) write(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// want reads a response.
func (c *raw) want(status int) *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("want status %d, got %v", status, err)
	}
	if status != http.StatusSwitchingProtocols {
		body, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Contains(body, []byte(`"message":"`)) {
			c.t.Errorf("the body says not why: %q, %v", body, err)
		}
	}
	if resp.StatusCode != status {
		c.t.Fatalf("want status %d, got %s", status, resp.Status)
	}
	return resp
}

// frame returns a masked frame.
func frame(f ws.Frame) string {
	var b bytes.Buffer
	if err := ws.WriteFrame(&b, ws.MaskFrameWith(f, [4]byte{1, 2, 3, 4})); err != nil {
		panic(err)
	}
	return b.String()
}

func text(s string) string { return frame(ws.NewTextFrame([]byte(s))) }

// wantText reads frames until a text, which must be this.
func (c *raw) wantText(want string) {
	c.t.Helper()
	if f := c.next(ws.OpText); string(f.Payload) != want {
		c.t.Fatalf("want %.40q, got %.40q", want, f.Payload)
	}
}

// next reads the next frame of a kind.
func (c *raw) next(op ws.OpCode) ws.Frame {
	c.t.Helper()
	for {
		h, err := ws.ReadHeader(c.in)
		if err != nil {
			c.t.Fatalf("want a frame with opcode %d, got %v", op, err)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(c.in, payload); err != nil {
			c.t.Fatalf("want a frame with opcode %d, got %v", op, err)
		}
		if h.OpCode == op {
			return ws.Frame{Header: h, Payload: payload}
		}
	}
}

// wantClose reads up to a Close frame, which must have this code, and answers.
func (c *raw) wantClose(code int) {
	c.t.Helper()
	f := c.next(ws.OpClose)
	got, reason := ws.ParseCloseFrameData(f.Payload)
	if int(got) != code {
		c.t.Fatalf("want close code %d, got %d %q", code, got, reason)
	}
	io.WriteString(c, frame(ws.NewCloseFrame(f.Payload[:2])))
	c.wantEOF()
}

// wantEOF reads to the end of the stream, which must come in order.
func (c *raw) wantEOF() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.in); err != nil {
		c.t.Fatalf("want the end of the stream, got %v", err)
	}
}

// wantGone reads to the end of the stream or a reset.
func (c *raw) wantGone() {
	c.t.Helper()
	var timeout net.Error
	if _, err := io.Copy(io.Discard, c.in); errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatal("the connection is still there")
	}
}
