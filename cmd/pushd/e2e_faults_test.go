package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pushd.example/internal/testkit"
)

// upgradeHead is a complete and correct request for user.
func upgradeHead(user string) string {
	return "GET /push?user=" + user + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// rawDial opens a TCP connection to s and sends text.
func rawDial(t testing.TB, s *server, text string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", s.Listen, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestE2EStuckClient keeps a client that never reads beside healthy ones: it
// is cut off, they receive everything.
func TestE2EStuckClient(t *testing.T) {
	s := startDev(t, t.TempDir())
	stuck := rawDial(t, s, upgradeHead("stuck"))
	if err := stuck.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	healthy := make([]*client, 50)
	for i := range healthy {
		healthy[i] = mustDial(t, s, fmt.Sprintf("healthy-%d", i), "")
	}
	testkit.WaitForSuccess(t, "all to be connected", func() error {
		if r := s.push("broadcast", `{"data":"ready?"}`); r.Online != len(healthy)+1 {
			return fmt.Errorf("online %d", r.Online)
		}
		return nil
	})
	// The stuck client is cut off when its socket's buffers and its backlog
	// are full: some hundred KiB, how many depends on the kernel.
	body := fmt.Sprintf(`{"data":%q}`, strings.Repeat("x", 16<<10))
	for n := 0; ; n++ {
		r := s.push("broadcast", body)
		for _, c := range healthy {
			f := c.next(t)
			for string(f.Data) == `"ready?"` {
				f = c.next(t)
			}
			if f.ID != r.ID {
				t.Fatalf("a healthy client got %s, want %s", f.ID, r.ID)
			}
		}
		if r.Online == len(healthy) {
			break
		}
		if n == 1000 {
			t.Fatal("after 16 MiB the stuck client is still connected")
		}
	}
	if m := s.metrics(); !strings.Contains(m, `reason="slow"} 1`) {
		t.Errorf("no metric says that one client was slow:\n%s", grep(m, "slow"))
	}
	// The missed messages wait in its history.
	if p := s.history("stuck", "limit=5"); p.Unread == 0 || len(p.Messages) != 5 {
		t.Errorf("history of the stuck client: unread %d, %d messages", p.Unread, len(p.Messages))
	}
}

// TestE2ESlowloris opens connections that never finish their request: each is
// ended by the handshake deadline, and meanwhile others connect.
func TestE2ESlowloris(t *testing.T) {
	s := startDev(t, t.TempDir(), "-handshake-timeout", "2s")
	var slow []net.Conn
	for range 300 {
		slow = append(slow, rawDial(t, s, "GET /push?user=1 HTTP/1.1\r\nHost: x\r\nX-Slow: "))
	}
	mustDial(t, s, "quick", "")
	for i, c := range slow {
		if b, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("connection %d is still open after %v: %v (got %q)", i, patience, err, b)
		}
	}
}

// TestE2EFlood floods a pushd that may hold few files: past its budget clients
// are told 503 with Retry-After, the API goes on, and it recovers.
func TestE2EFlood(t *testing.T) {
	s := startVia(t, []string{"sh", "-c", `ulimit -n 300; exec "$@"`, "sh"}, "-dev", "-data", t.TempDir())
	var open, refused int
	var conns []net.Conn
	for i := range 600 {
		c := rawDial(t, s, upgradeHead(fmt.Sprintf("u%d", i)))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		switch {
		case err != nil:
			t.Fatalf("connection %d: neither served nor refused: %v", i, err)
		case resp.StatusCode == http.StatusSwitchingProtocols:
			open++
			conns = append(conns, c)
		case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
			refused++
			_ = c.Close()
		default:
			t.Fatalf("connection %d: %s, Retry-After %q", i, resp.Status, resp.Header.Get("Retry-After"))
		}
	}
	if open < 50 || refused < 300 {
		t.Errorf("of 600 connections %d were served and %d refused under a limit of 300 files", open, refused)
	}
	if r := s.push("broadcast", `{"data":1}`); r.Online != open {
		t.Errorf("online is %d in the flood, want %d", r.Online, open)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	testkit.WaitForSuccess(t, "a connection after the flood", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c, err := dial(ctx, s, "after", "")
		if err != nil {
			return err
		}
		return c.ws.CloseNow()
	})
}

// TestE2EDrainSideBySide: a REST caller who does not send the rest of its body
// delays no client's notice, and is answered when it does.
func TestE2EDrainSideBySide(t *testing.T) {
	s := startDev(t, t.TempDir())
	c := mustDial(t, s, "42", "")
	slow, err := net.Dial("tcp", s.HTTP)
	testkit.Must(t, err)
	defer slow.Close()
	testkit.Must(t, slow.SetDeadline(time.Now().Add(patience)))
	const body = `{"user":"42","data":1}`
	_, err = fmt.Fprintf(slow, "POST /v1/unicast HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
	testkit.Must(t, err)
	answers := bufio.NewReader(slow)
	// It is asked for when the call reads the body.
	resp, err := http.ReadResponse(answers, nil)
	testkit.Must(t, err)
	if resp.StatusCode != http.StatusContinue {
		t.Fatalf("status %d, want 100", resp.StatusCode)
	}
	testkit.Must(t, s.cmd.Process.Signal(syscall.SIGTERM))
	if code := c.closeCode(t); code != 4200 {
		t.Errorf("close code %d, want 4200", code)
	}
	_, err = slow.Write([]byte(body))
	testkit.Must(t, err)
	resp, err = http.ReadResponse(answers, nil)
	testkit.Must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", resp.StatusCode)
	}
	<-s.done
	testkit.Must(t, s.err)
}

// TestE2EDrain ends pushd with SIGTERM: calls finish, sockets are closed with
// the code that says reconnect, what was pushed is kept.
func TestE2EDrain(t *testing.T) {
	dir := t.TempDir()
	s := startDev(t, dir)
	c := mustDial(t, s, "42", "")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var acked []string
	started := make(chan struct{})
	for caller := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				var r receipt
				if _, err := s.rest("POST", "/v1/unicast", `{"user":"other","data":1}`, &r); err != nil {
					return
				}
				mu.Lock()
				acked = append(acked, r.ID)
				mu.Unlock()
				if caller == 0 && i == 20 {
					close(started)
				}
			}
		})
	}
	<-started
	s.terminate()
	wg.Wait()
	if code := c.closeCode(t); code != 4200 {
		t.Errorf("close code %d, want 4200", code)
	}
	s = startDev(t, dir)
	kept := map[string]bool{}
	for _, id := range frameIDs(s.wholeHistory("other")) {
		kept[id] = true
	}
	for _, id := range acked {
		if !kept[id] {
			t.Errorf("%s was answered OK and is gone after SIGTERM", id)
		}
	}
}

// TestE2ERefusesToStart tries what must not start, and reads the reason.
func TestE2ERefusesToStart(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	running := filepath.Join(dir, "running")
	startDev(t, running)

	dev := func(args ...string) []string {
		return append(append([]string{"-dev", "-data", filepath.Join(dir, "data")}, anyPort...), args...)
	}
	for name, tc := range map[string]struct {
		args []string
		says []string
	}{
		"no credentials":     {[]string{"-data", dir}, []string{"-api-key-file", "-token-key-file"}},
		"unknown flag":       {dev("-colour", "red"), []string{"-colour"}},
		"unknown config key": {dev("-config", file("c.yaml", "lissten: 127.0.0.1:1\n")), []string{"c.yaml", "lissten", "listen"}},
		"port in use":        {dev("-http", taken.Addr().String()), []string{taken.Addr().String(), "in use"}},
		"data is a file":     {append([]string{"-dev", "-data", file("f", "")}, anyPort...), []string{filepath.Join(dir, "f")}},
		"data not writable":  {append([]string{"-dev", "-data", "/proc/pushd"}, anyPort...), []string{"/proc/pushd"}},
		"data in use":        {append([]string{"-dev", "-data", running}, anyPort...), []string{running, "another process"}},
		"no key file":        {dev("-api-key-file", filepath.Join(dir, "none")), []string{filepath.Join(dir, "none")}},
	} {
		t.Run(name, func(t *testing.T) {
			out := fails(t, tc.args...)
			for _, word := range tc.says {
				if !strings.Contains(out, word) {
					t.Errorf("the refusal does not mention %q:\n%s", word, out)
				}
			}
		})
	}
}

// metrics returns what /metrics says.
func (s *server) metrics() string {
	s.t.Helper()
	resp, err := http.Get("http://" + s.Admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// grep returns the lines of text that contain word.
func grep(text, word string) string {
	var hits []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			hits = append(hits, line)
		}
	}
	return strings.Join(hits, "")
}
