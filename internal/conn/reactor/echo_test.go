package reactor_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"pushd.example/internal/conn/echo/handler"
	"pushd.example/internal/conn/reactor"
)

// patience bounds every wait for something that should happen at once.
const patience = 20 * time.Second

// serve runs an echo server for the test.
func serve(t testing.TB, cfg reactor.Config) *reactor.Reactor {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Handler == nil {
		cfg.Handler = handler.New
	}
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
		if s := r.Stats(); s.Connecting+s.Open+s.Closing != 0 || s.BacklogBytes != 0 || s.InputBytes != 0 {
			t.Errorf("after Shutdown something is left: %+v", s)
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// dial connects an independent client.
func dial(t testing.TB, r *reactor.Reactor) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+r.Addr().String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func TestEcho(t *testing.T) {
	r := serve(t, reactor.Config{Limits: reactor.Limits{MessageRate: -1}})
	c := dial(t, r)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, size := range []int{0, 1, 125, 126, 4096, 65535, 65536} {
		sent := bytes.Repeat([]byte("x"), size)
		for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
			if err := c.Write(ctx, typ, sent); err != nil {
				t.Fatal(err)
			}
			gotType, got, err := c.Read(ctx)
			if err != nil || gotType != typ || !bytes.Equal(got, sent) {
				t.Fatalf("size %d: got %v, %d bytes, %v", size, gotType, len(got), err)
			}
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, strings.Repeat("b", 20)); err != nil {
		t.Fatalf("closing handshake: %v", err)
	}
}
