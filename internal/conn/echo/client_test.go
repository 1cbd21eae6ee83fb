package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/testkit"
)

// patience bounds every wait for something that should happen at once.
const patience = 30 * time.Second

func TestMain(m *testing.M) { testkit.Main(m) }

// serve runs a server for the test, which at the end must have let go of
// everything.
func serve(t testing.TB, cfg reactor.Config) *reactor.Reactor {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	r, err := reactor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		r.Run()
		close(done)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		<-done
		s := r.Stats()
		if s.Connecting+s.Open+s.Closing+s.Backlogged+s.BacklogBytes+s.InputBytes+s.HeadBytes != 0 {
			t.Errorf("after Shutdown something is left: %+v", s)
		}
		if s.Panics != 0 {
			t.Errorf("%d panics", s.Panics)
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// wire is a client that says what it likes, byte by byte.
type wire struct {
	t    testing.TB
	conn *net.TCPConn
	in   *bufio.Reader
	// window is what the server may look back within a compressed message, as
	// a power of two; 0: nothing may be compressed.
	window int
	// unpacked counts the messages that came compressed.
	unpacked int
}

// connect opens a connection on which nothing is said yet.
func connect(t testing.TB, addr net.Addr) *wire {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &wire{t: t, conn: conn.(*net.TCPConn), in: bufio.NewReader(conn)}
}

// dial opens a WebSocket.
func dial(t testing.TB, addr net.Addr) *wire {
	t.Helper()
	return dialOffering(t, addr, "", "")
}

// dialOffering opens a WebSocket with an offer of extensions, which must be
// answered so.
func dialOffering(t testing.TB, addr net.Addr, offer, answer string) *wire {
	t.Helper()
	c := connect(t, addr)
	key := newKey()
	say := request("/", key)
	if offer != "" {
		say = strings.TrimSuffix(say, "\r\n") + "Sec-WebSocket-Extensions: " + offer + "\r\n\r\n"
	}
	c.write([]byte(say))
	if err := c.agreed(key, answer); err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// request is the handshake of RFC 6455, section 4.1.
func request(target, key string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n\r\n"
}

// upgraded reads the answer to request.
func (c *wire) upgraded(key string) error { return c.agreed(key, "") }

// agreed reads the answer to a request that offered extensions.
func (c *wire) agreed(key, extensions string) error {
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return fmt.Errorf("reading the handshake's answer: %w", err)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	accept := base64.StdEncoding.EncodeToString(sum[:])
	if got := resp.Header.Get("Sec-WebSocket-Accept"); resp.StatusCode != 101 || got != accept {
		return fmt.Errorf("want status 101 and accept %q, got %s and %q", accept, resp.Status, got)
	}
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != extensions {
		return fmt.Errorf("want extensions %q, got %q", extensions, got)
	}
	return nil
}

func (c *wire) write(p []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(p); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

func (c *wire) say(ps pieces) {
	c.t.Helper()
	for p := range ps {
		c.write(p)
	}
}

// read reads a frame, or a message that is compressed.
func (c *wire) read() (frame, error) {
	if c.window == 0 {
		return readFrame(c.in)
	}
	f, err := readMarked(c.in)
	if err != nil || f.rsv == 0 {
		return f, err
	}
	if f.rsv != rsv1 || f.op != opText && f.op != opBinary {
		return f, fmt.Errorf("reserved bits: %+v", f)
	}
	short := len(f.payload)
	f.rsv = 0
	if f.payload, err = inflated(f.payload); err != nil {
		return f, fmt.Errorf("decompressing: %w", err)
	}
	// Within a message that is no longer than the window, nothing can look
	// back further than that.
	if c.window < 15 && len(f.payload) > 1<<c.window || short >= len(f.payload) {
		return f, fmt.Errorf("%d bytes compressed to %d, for a window of %d bits", len(f.payload), short, c.window)
	}
	c.unpacked++
	return f, nil
}

// hear reads the next frame, which must be this one.
func (c *wire) hear(want frame) {
	c.t.Helper()
	got, err := c.read()
	if err != nil {
		c.t.Fatalf("want %v, got %v", want, err)
	}
	if got != want {
		c.t.Fatalf("want %v, got %v", want, got)
	}
}

// hearBehindPings reads the next frame that is no ping, which must be this one,
// and answers the pings.
func (c *wire) hearBehindPings(want frame) {
	c.t.Helper()
	got, err := c.read()
	for ; err == nil && got.op == opPing; got, err = c.read() {
		c.write(encode(pong(got.payload)))
	}
	if err != nil || got != want {
		c.t.Fatalf("want %v, got %v, %v", want, got, err)
	}
}

// hearClose reads the next frame, which must be a Close with this code.
func (c *wire) hearClose(code uint16) {
	c.t.Helper()
	f, err := readFrame(c.in)
	if err != nil {
		c.t.Fatalf("want Close %d, got %v", code, err)
	}
	if f.op != opClose || f.code() != code {
		c.t.Fatalf("want Close %d, got %v", code, f)
	}
}

// hearStatus reads a response that ends the connection.
func (c *wire) hearStatus(status int) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("want status %d, got %v", status, err)
	}
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != status || !resp.Close {
		c.t.Fatalf("want status %d and the end, got %s", status, resp.Status)
	}
}

// hearEnd reads the end of the stream, before which nothing more may come.
func (c *wire) hearEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		c.t.Fatalf("want the end of the stream, got %.40q, %v", rest, err)
	}
}

// reset ends the connection at once, as a crashing client's system does.
func (c *wire) reset() {
	c.conn.SetLinger(0)
	c.conn.Close()
}

// timedOut reports whether nothing happened until the deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
