package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"

	"pushd.example/internal/chaos"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// client is a client as docs/protocol.md wants it: it keeps its cursor, comes
// back to any node when its connection ends, and drops what it has seen before.
type client struct {
	r    *run
	user string
	rng  *rand.Rand

	mu       sync.Mutex // guards what follows
	life     chaos.Client
	cursor   history.Cursor
	seen     map[chaos.Seen]bool
	progress chan struct{} // closed and made anew with every message
	settling bool          // it does not leave by itself any more
}

func newClient(r *run, name, user string) *client {
	return &client{r: r, user: user, rng: r.rand("client " + name), life: chaos.Client{User: user},
		seen: map[chaos.Seen]bool{}, progress: make(chan struct{})}
}

// run connects again and again until ctx ends.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		n := c.r.nodes[c.rng.IntN(len(c.r.nodes))]
		if addr := n.addr(); addr != "" {
			c.session(ctx, addr)
		}
		pause(ctx, upTo(c.rng, 4*tick))
	}
}

// session is one connection, which the client itself may end after a while.
func (c *client) session(ctx context.Context, addr string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(300*time.Millisecond+upTo(c.rng, 2*time.Second), func() {
		if !c.isSettling() {
			cancel()
		}
	}).Stop()
	url := fmt.Sprintf("ws://%s/push?user=%s&cursor=%v", addr, c.user, c.at())
	dialing, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	ws, _, err := websocket.Dial(dialing, url, &websocket.DialOptions{Subprotocols: []string{"pushd.v1.json"}})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(1 << 20)
	for {
		_, b, err := ws.Read(ctx)
		if err != nil {
			return
		}
		if err := c.take(b); err != nil {
			c.r.Errorf("%s: %v in %q", c.user, err, b)
			return
		}
	}
}

// take writes down one frame.
func (c *client) take(frame []byte) error {
	var m message
	if err := json.Unmarshal(frame, &m); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.Type {
	case "hello":
		from, err := history.ParseCursor(m.Cursor)
		c.cursor = from
		c.life.Sessions = append(c.life.Sessions, chaos.Session{From: from, Truncated: m.Truncated})
		return err
	case "message":
		s, err := m.seen()
		if err != nil {
			return err
		}
		c.see(s)
	}
	return nil
}

// see needs mu.
func (c *client) see(s chaos.Seen) {
	session := &c.life.Sessions[len(c.life.Sessions)-1]
	session.Seen = append(session.Seen, s)
	if s.Kind == history.Broadcast {
		c.cursor.Broadcast = max(c.cursor.Broadcast, s.ID)
	} else {
		c.cursor.Inbox = max(c.cursor.Inbox, s.ID)
	}
	c.seen[s] = true
	close(c.progress)
	c.progress = make(chan struct{})
}

func (c *client) at() history.Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cursor
}

func (c *client) isSettling() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settling
}

// settle waits until c was sent all of h, and returns how much it was not. It
// does not reconnect for that, nor is anything pushed: a node must notice by
// itself what it missed.
func (c *client) settle(h chaos.History) (missing int) {
	deadline := time.After(testkit.Patience / 2)
	for {
		c.mu.Lock()
		c.settling = true
		missing = 0
		for _, m := range h.Messages {
			if !c.seen[m] {
				missing++
			}
		}
		progress := c.progress
		c.mu.Unlock()
		if missing == 0 {
			return 0
		}
		select {
		case <-progress:
		case <-deadline:
			return missing
		}
	}
}
