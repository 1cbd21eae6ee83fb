package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// The tests named TestE2E… drive the programs that users get, over their doors
// only, with a WebSocket library that is not the server's.

// binaryDir is where binary puts what it builds, and TestMain cleans up.
var binaryDir string

// build builds pushd and pushctl once, with the race detector.
var build = sync.OnceValue(func() error {
	out, err := exec.Command("go", "build", "-race", "-o", binaryDir+"/", ".", "../pushctl").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building pushd and pushctl: %w\n%s", err, out)
	}
	return nil
})

// binary returns the path of the program called name.
func binary(t testing.TB, name string) string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(binaryDir, name)
}

func TestMain(m *testing.M) {
	var err error
	if binaryDir, err = os.MkdirTemp("", "pushd-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(binaryDir)
	os.Exit(code)
}

// patience bounds every wait of these tests; it is long since machines are
// slow under the race detector, and never waited for when all is well.
const patience = 30 * time.Second

// server is a running pushd.
type server struct {
	t   testing.TB
	cmd *exec.Cmd
	log *testkit.Buffer
	// done is closed once the process has ended; err is its result then.
	done chan struct{}
	err  error

	Node   string `json:"node"`
	PID    int    `json:"pid"`
	Listen string `json:"listen"`
	GRPC   string `json:"grpc"`
	HTTP   string `json:"http"`
	Admin  string `json:"admin"`
	// Key is sent with every REST call, if set.
	Key     string `json:"-"`
	keyFile string
}

var anyPort = []string{"-listen", "127.0.0.1:0", "-grpc", "127.0.0.1:0", "-http", "127.0.0.1:0", "-admin", "127.0.0.1:0"}

// startDev runs `pushd -dev` on free ports with its data in dir.
func startDev(t testing.TB, dir string, args ...string) *server {
	t.Helper()
	return start(t, append([]string{"-dev", "-data", dir}, args...)...)
}

// start runs pushd on free ports and waits until it serves. The test's end
// kills it if nothing else stopped it.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	return startVia(t, nil, args...)
}

// startVia is start with the command line behind another one, such as a shell
// that lowers a limit first.
func startVia(t testing.TB, wrapper []string, args ...string) *server {
	t.Helper()
	bin := binary(t, "pushd")
	ready := filepath.Join(t.TempDir(), "ready.json")
	line := append(append(append([]string{}, wrapper...), bin), anyPort...)
	line = append(append(line, "-ready-file", ready), args...)
	s := &server{t: t, log: new(testkit.Buffer), done: make(chan struct{})}
	s.cmd = exec.Command(line[0], line[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.err = s.cmd.Wait(); close(s.done) }()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("pushd said:\n%s", s.log.Tail(8000))
		}
		if strings.Contains(s.log.String(), "WARNING: DATA RACE") {
			t.Errorf("data race in pushd:\n%s", s.log.Tail(20000))
		}
	})
	testkit.WaitForSuccess(t, "pushd to serve", func() error {
		select {
		case <-s.done:
			t.Fatalf("pushd ended: %v\n%s", s.err, s.log)
		default:
		}
		b, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, s)
	})
	return s
}

// kill ends the process at once, as kill -9 does.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// terminate asks the process to end and requires that it ends well.
func (s *server) terminate() {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Fatalf("pushd did not end within %v of SIGTERM", patience)
	}
	if s.err != nil {
		s.t.Fatalf("pushd ended with %v after SIGTERM\n%s", s.err, s.log)
	}
}

// rest makes one REST call and decodes the answer into out (unless nil).
func (s *server) rest(method, path, body string, out any) (status int, err error) {
	req, err := http.NewRequest(method, "http://"+s.HTTP+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if s.Key != "" {
		req.Header.Set("Authorization", "Bearer "+s.Key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if out == nil {
		return resp.StatusCode, nil
	}
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	return resp.StatusCode, json.Unmarshal(b, out)
}

// receipt is what the three sends answer.
type receipt struct {
	ID         string `json:"id"`
	Duplicate  bool   `json:"duplicate"`
	Online     int    `json:"online"`
	Recipients int    `json:"recipients"`
}

// push calls one of the three sends over REST and requires that it succeeds.
func (s *server) push(method, body string) receipt {
	s.t.Helper()
	var r receipt
	if _, err := s.rest("POST", "/v1/"+method, body, &r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// frame is any frame that pushd sends.
type frame struct {
	Type       string          `json:"type"`
	User       string          `json:"user"`
	Connection string          `json:"connection"`
	Cursor     string          `json:"cursor"`
	Unread     int             `json:"unread"`
	Truncated  bool            `json:"truncated"`
	ID         string          `json:"id"`
	Log        string          `json:"log"`
	Kind       string          `json:"kind"`
	Time       time.Time       `json:"time"`
	Data       json.RawMessage `json:"data"`
	Code       string          `json:"code"`
	Message    string          `json:"message"`
}

// page is what History answers.
type page struct {
	Messages  []frame `json:"messages"`
	Cursor    string  `json:"cursor"`
	HasMore   bool    `json:"has_more"`
	Unread    int     `json:"unread"`
	Truncated bool    `json:"truncated"`
}

// history reads one page.
func (s *server) history(user, query string) page {
	s.t.Helper()
	var p page
	if _, err := s.rest("GET", "/v1/users/"+user+"/history?"+query, "", &p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// wholeHistory pages forward from the oldest message kept.
func (s *server) wholeHistory(user string) []frame {
	s.t.Helper()
	var all []frame
	for cursor := "0"; ; {
		p := s.history(user, "limit=200&after="+cursor)
		all = append(all, p.Messages...)
		if cursor = p.Cursor; !p.HasMore {
			return all
		}
	}
}

// client is one WebSocket connection that keeps its cursor as docs/protocol.md
// tells client authors to.
type client struct {
	ws     *websocket.Conn
	hello  frame
	cursor history.Cursor
}

// dial connects user to s; query is what follows the user in the URL.
func dial(ctx context.Context, s *server, user, query string) (*client, error) {
	ws, resp, err := websocket.Dial(ctx, "ws://"+s.Listen+"/push?user="+user+query, &websocket.DialOptions{
		Subprotocols: []string{"pushd.v1.json"},
	})
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("%w (%s)", err, resp.Status)
		}
		return nil, err
	}
	ws.SetReadLimit(1 << 20)
	c := &client{ws: ws}
	if c.hello, err = c.read(ctx); err != nil {
		_ = ws.CloseNow()
		return nil, err
	}
	if c.hello.Type != "hello" {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("the first frame is %q, not hello", c.hello.Type)
	}
	c.cursor, err = history.ParseCursor(c.hello.Cursor)
	return c, err
}

// mustDial is dial for a test that cannot go on without.
func mustDial(t testing.TB, s *server, user, query string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := dial(ctx, s, user, query)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.ws.CloseNow() })
	return c
}

// read returns the next frame and moves the cursor past it.
func (c *client) read(ctx context.Context) (frame, error) {
	var f frame
	_, b, err := c.ws.Read(ctx)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("reading %q: %w", b, err)
	}
	if f.Type == "message" {
		id, err := history.ParseID(f.ID)
		if err != nil {
			return f, err
		}
		last := &c.cursor.Inbox
		if f.Log == "broadcast" {
			last = &c.cursor.Broadcast
		}
		if id <= *last {
			return f, fmt.Errorf("message %v came again, or out of order after %v", id, *last)
		}
		*last = id
	}
	return f, nil
}

// next is read for a test that waits for one frame.
func (c *client) next(t testing.TB) frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f, err := c.read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// closeCode reads until the connection ends and returns its close code.
func (c *client) closeCode(t testing.TB) websocket.StatusCode {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if _, err := c.read(ctx); err != nil {
			code := websocket.CloseStatus(err)
			if code == -1 {
				t.Fatalf("the connection ended without a close frame: %v", err)
			}
			return code
		}
	}
}

// listening is a running `pushctl listen`.
type listening struct {
	cmd   *exec.Cmd
	lines chan string
}

// listen runs `pushctl listen` as user, with its cursor in file.
func listen(t testing.TB, s *server, user, file string) *listening {
	t.Helper()
	l := &listening{cmd: exec.Command(binary(t, "pushctl"), "listen", "-json", "-user", user, "-cursor-file", file), lines: make(chan string, 1000)}
	l.cmd.Env = s.pushctlEnv()
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			l.lines <- sc.Text()
		}
	}()
	t.Cleanup(l.stop)
	return l
}

// stop interrupts the listener as Ctrl-C does.
func (l *listening) stop() {
	_ = l.cmd.Process.Signal(syscall.SIGINT)
	_ = l.cmd.Wait()
}

// next returns the next frame that the listener printed.
func (l *listening) next(t testing.TB) frame {
	t.Helper()
	for {
		select {
		case line, ok := <-l.lines:
			if !ok {
				t.Fatal("listen ended")
			}
			var f frame
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatalf("listen printed %q: %v", line, err)
			}
			return f
		case <-time.After(patience):
			t.Fatal("listen printed nothing")
		}
	}
}

// fails runs pushd, requires that it refuses to start, and returns what it
// said.
func fails(t testing.TB, args ...string) string {
	t.Helper()
	bin := binary(t, "pushd")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("pushd %v: want a refusal, got %v\n%s", args, err, out)
	}
	return string(out)
}
