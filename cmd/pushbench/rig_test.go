//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/testkit"
)

// TestMain lets the test binary be the child processes, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == holdCommand {
		main()
		return
	}
	testkit.Main(m)
}

// fake is a push server that counts what it does, on a WebSocket library that
// pushbench does not use. Its hooks make it misbehave.
type fake struct {
	pushv1.UnimplementedPushServiceServer
	t    *testing.T
	http *httptest.Server
	grpc string

	// refuse, if set, answers a handshake and returns true.
	refuse func(w http.ResponseWriter, r *http.Request) bool
	// compression is what the server does about -compression.
	compression websocket.CompressionMode
	// silent leaves out the hello.
	silent bool
	// beforeCall, if set, runs before each call.
	beforeCall func(n int64)
	// copies says how often connection conn gets message n; nil means once.
	copies func(n int64, conn int) int
	// delay is how long after its answer a message is sent.
	delay time.Duration
	// breakAfter is how many requests a Publish stream takes; 0: any number.
	breakAfter int
	// answerError, if set, is the error in replies on Publish streams.
	answerError string
	// envelope is what a message is sent in.
	envelope string

	calls, sent   atomic.Int64
	late, latest  atomic.Int64 // messages that are delayed, and the most at one time
	authorization sync.Map     // what API calls carried → true

	mu    sync.Mutex
	conns map[*fakeConn]bool
	users map[string][]*fakeConn
}

type fakeConn struct {
	ws     *websocket.Conn
	number int
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, conns: map[*fakeConn]bool{}, users: map[string][]*fakeConn{}, envelope: `{"type":"message","data":%s}`}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /push", f.connect)
	mux.HandleFunc("POST /v1/{kind}", f.rest)
	f.http = httptest.NewServer(mux)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pushv1.RegisterPushServiceServer(server, f)
	f.grpc = "http://" + l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
		f.closeAll()
		f.http.Close()
	})
	return f
}

func (f *fake) closeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.ws.CloseNow()
	}
}

func (f *fake) connect(w http.ResponseWriter, r *http.Request) {
	if f.refuse != nil && f.refuse(w, r) {
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: f.compression, CompressionThreshold: 1})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	if !f.silent {
		if err := ws.Write(r.Context(), websocket.MessageText, []byte(`{"type":"hello"}`)); err != nil {
			return
		}
	}
	user := r.URL.Query().Get("user")
	f.mu.Lock()
	c := &fakeConn{ws, len(f.conns)}
	f.conns[c] = true
	f.users[user] = append(f.users[user], c)
	f.mu.Unlock()
	for {
		if _, _, err := ws.Read(context.Background()); err != nil {
			return
		}
	}
}

func (f *fake) rest(w http.ResponseWriter, r *http.Request) {
	f.authorization.Store(r.Header.Get("Authorization"), true)
	var body struct {
		User  string
		Users []string
		Data  json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if body.User != "" {
		body.Users = append(body.Users, body.User)
	}
	f.push(body.Users, body.Data)
	fmt.Fprintf(w, `{"id":"1","kind":%q}`, r.PathValue("kind"))
}

func (f *fake) Unicast(_ context.Context, r *pushv1.UnicastRequest) (*pushv1.UnicastResponse, error) {
	f.push([]string{r.User}, r.Data)
	return &pushv1.UnicastResponse{}, nil
}

func (f *fake) Multicast(_ context.Context, r *pushv1.MulticastRequest) (*pushv1.MulticastResponse, error) {
	f.push(r.Users, r.Data)
	return &pushv1.MulticastResponse{}, nil
}

func (f *fake) Broadcast(_ context.Context, r *pushv1.BroadcastRequest) (*pushv1.BroadcastResponse, error) {
	f.push(nil, r.Data)
	return &pushv1.BroadcastResponse{}, nil
}

// Publish answers in any order. If breakAfter is set, a stream
// breaks at the request after so many.
func (f *fake) Publish(s grpc.BidiStreamingServer[pushv1.PublishRequest, pushv1.PublishResponse]) error {
	var replying sync.Mutex
	var calls sync.WaitGroup
	defer calls.Wait()
	for n := 0; ; n++ {
		req, err := s.Recv()
		if err != nil {
			return nil
		}
		if f.breakAfter > 0 && n == f.breakAfter {
			return grpcstatus.Error(codes.Unavailable, "the stream broke")
		}
		calls.Go(func() {
			switch send := req.GetSend().(type) {
			case *pushv1.PublishRequest_Unicast:
				f.push([]string{send.Unicast.User}, send.Unicast.Data)
			case *pushv1.PublishRequest_Multicast:
				f.push(send.Multicast.Users, send.Multicast.Data)
			case *pushv1.PublishRequest_Broadcast:
				f.push(nil, send.Broadcast.Data)
			}
			reply := &pushv1.PublishResponse{Number: req.GetNumber()}
			if f.answerError != "" {
				reply.Reply = &pushv1.PublishResponse_Error{Error: &pushv1.Error{Code: 3, Message: f.answerError}}
			}
			replying.Lock()
			defer replying.Unlock()
			_ = s.Send(reply)
		})
	}
}

// push sends data to users' connections, or to all if there are none.
func (f *fake) push(users []string, data []byte) {
	n := f.calls.Add(1)
	if f.beforeCall != nil {
		f.beforeCall(n)
	}
	text := fmt.Appendf(nil, f.envelope, data)
	if f.delay == 0 {
		f.deliver(n, users, text)
		return
	}
	if late := f.late.Add(1); late > f.latest.Load() {
		f.latest.Store(late)
	}
	time.AfterFunc(f.delay, func() {
		f.late.Add(-1)
		f.deliver(n, users, text)
	})
}

func (f *fake) deliver(n int64, users []string, text []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, user := range users {
		for _, c := range f.users[user] {
			f.write(n, c, text)
		}
	}
	if users == nil {
		for c := range f.conns {
			f.write(n, c, text)
		}
	}
}

func (f *fake) write(n int64, c *fakeConn, text []byte) {
	times := 1
	if f.copies != nil {
		times = f.copies(n, c.number)
	}
	for range times {
		if c.ws.Write(context.Background(), websocket.MessageText, text) == nil {
			f.sent.Add(1)
		}
	}
}

// args points pushbench at f, with defaults for tests.
func (f *fake) args(mode string, more ...string) []string {
	args := []string{mode, "-connect-url", "ws" + strings.TrimPrefix(f.http.URL, "http") + "/push?user={user}",
		"-settle", "1ms", "-warmup", "0", "-quiet", "-json", "-pid", fmt.Sprint(os.Getpid())}
	if !strings.Contains(strings.Join(more, " "), "-api ") {
		args = append(args, "-api", f.http.URL)
	}
	return append(args, more...)
}

// bench runs pushbench and returns its report, which it prints even if it
// fails.
func runBench(t *testing.T, args ...string) (report, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	var out, stderr bytes.Buffer
	err := run(ctx, args, func(string) string { return "" }, stdio{strings.NewReader(""), &out, &stderr})
	var r report
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("not JSON: %v: %s", err, out.Bytes())
		}
	}
	if r.Push == nil {
		r.Push = &pushReport{}
	}
	if stderr.Len() > 0 {
		t.Logf("stderr: %s", stderr.Bytes())
	}
	return r, err
}

// mustBench is runBench for a run that must succeed.
func mustBench(t *testing.T, args ...string) report {
	t.Helper()
	r, err := runBench(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
