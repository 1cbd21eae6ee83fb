package reactor_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/testkit"
)

// lines is a log that a test reads.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// refusal is what a line of the log says of a refused handshake.
type refusal struct {
	Level, Msg, Reason, Message, Origin, Address string
	Status, Others                               int
}

// refusals returns the lines about refused handshakes.
func (l *lines) refusals(t *testing.T) (all []refusal) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.buf.Bytes()) {
		var r refusal
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Msg == "refused a handshake" {
			all = append(all, r)
		}
	}
	return all
}

// Each refused handshake has a line in the log: the first of a reason at info,
// the others at debug.
func TestRefusalsAreLogged(t *testing.T) {
	var log lines
	r := serve(t, reactor.Config{
		Path: "/push", Limits: reactor.Limits{Loops: 1, MaxHeads: 1},
		Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	for range 3 {
		c := dialRaw(t, r)
		c.write(request) // not for /push
		c.want(404)
		c.wantEOF()
		c.Close()
	}
	c := dialRaw(t, r)
	c.write("rubbish\r\n\r\n")
	c.want(400)
	first, second := dialRaw(t, r), dialRaw(t, r)
	first.write("GET")
	testkit.WaitFor(t, "the first to be kept", func() bool { return r.Stats().HeadBytes > 0 })
	second.write("GET")
	first.want(503) // Config.MaxHeads
	want := []refusal{
		{Level: "INFO", Reason: "not_found", Status: 404},
		{Level: "DEBUG", Reason: "not_found", Status: 404},
		{Level: "DEBUG", Reason: "not_found", Status: 404},
		{Level: "INFO", Reason: "bad_request", Status: 400},
		{Level: "INFO", Reason: "heads", Status: 503},
	}
	got := log.refusals(t)
	if len(got) != len(want) {
		t.Fatalf("%d refusals have %d lines: %+v", len(want), len(got), got)
	}
	for i, w := range want {
		g := got[i]
		if g.Level != w.Level || g.Reason != w.Reason || g.Status != w.Status || g.Address != "127.0.0.1" || g.Message == "" || g.Others != 0 {
			t.Errorf("line %d is %+v, want %+v", i, g, w)
		}
	}
}

// Pages that are told why they are refused are bounded, whether or not they
// answer the Close frame; further ones get a status.
func TestRefusedPagesAreBounded(t *testing.T) {
	const most = 1024
	r := serve(t, reactor.Config{Limits: reactor.Limits{Loops: 1, CloseTimeout: patience}, Handler: newHooks(func(k *hooks) {
		k.request = func(h reactor.Handle) { k.loop.Refuse(h, proto.ErrOrigin) }
	})})
	page := strings.Replace(request, "Host: x", "Host: x\r\nOrigin: https://a.example", 1)
	told := make([]*raw, most)
	for i := range told {
		told[i] = dialRaw(t, r)
		told[i].write(page)
		told[i].want(http.StatusSwitchingProtocols)
	}
	c := dialRaw(t, r)
	c.write(page)
	c.want(http.StatusForbidden)
	c.wantEOF()
	told[0].wantClose(4003)
	told[0].Close()
	testkit.WaitFor(t, "one to be gone", func() bool { return r.Stats().Closing < most })
	c = dialRaw(t, r)
	c.write(page)
	c.want(http.StatusSwitchingProtocols)
	if f := c.next(ws.OpClose); !strings.Contains(string(f.Payload), `"code":"bad_origin"`) {
		t.Errorf("closed with %q", f.Payload)
	}
	if n := r.Stats().Closes; n != [len(n)]uint64{} {
		t.Errorf("refused pages are counted as closed: %v", n)
	}
	for _, c := range told {
		c.Close()
	}
}
