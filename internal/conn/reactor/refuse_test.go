package reactor_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"

	"pushd.example/internal/conn/reactor"
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
	waitFor(t, "the first to be kept", func() bool { return r.Stats().HeadBytes > 0 })
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
