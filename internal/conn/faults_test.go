package conn_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// faulty is a store that can be made to fail, to wait, and to lose or repeat
// what followers get. It counts who is attached.
type faulty struct {
	history.Store
	attached atomic.Int64
	attaches atomic.Int64
	pages    atomic.Int64
	waiting  atomic.Int64 // calls at the gate

	mu       sync.Mutex
	truncate bool                                        // pages say that history was cut
	err      error                                       // of Attach, Page and Ack
	gate     chan struct{}                               // if set, Attach, Page and Ack wait for it to close
	late     chan struct{}                               // if set, what Attach and Page have read waits for it to close
	deliver  func([]history.Delivery) []history.Delivery // changes what followers get
}

func (f *faulty) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *faulty) wait(ctx context.Context) error {
	f.mu.Lock()
	gate, err := f.gate, f.err
	f.mu.Unlock()
	return errors.Join(f.waitAt(ctx, gate), err)
}

// waitLate holds back what was read.
func (f *faulty) waitLate(ctx context.Context) error {
	f.mu.Lock()
	late := f.late
	f.mu.Unlock()
	return f.waitAt(ctx, late)
}

func (f *faulty) waitAt(ctx context.Context, gate chan struct{}) error {
	if gate != nil {
		f.waiting.Add(1)
		defer f.waiting.Add(-1)
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (f *faulty) Attach(ctx context.Context, user string, s history.Start) (history.Attachment, error) {
	f.attaches.Add(1)
	if err := f.wait(ctx); err != nil {
		return history.Attachment{}, err
	}
	a, err := f.Store.Attach(ctx, user, s)
	if err == nil {
		f.attached.Add(1)
		err = f.waitLate(ctx)
	}
	return a, err
}

func (f *faulty) Detach(user string) {
	f.Store.Detach(user)
	f.attached.Add(-1)
}

func (f *faulty) Page(ctx context.Context, user string, q history.Query) (history.Page, error) {
	f.pages.Add(1)
	if err := f.wait(ctx); err != nil {
		return history.Page{}, err
	}
	p, err := f.Store.Page(ctx, user, q)
	if err == nil {
		err = f.waitLate(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p.Truncated = p.Truncated || f.truncate
	return p, err
}

func (f *faulty) Ack(ctx context.Context, user string, c history.Cursor, exclude string) (history.ReadMark, error) {
	if err := f.wait(ctx); err != nil {
		return history.ReadMark{}, err
	}
	return f.Store.Ack(ctx, user, c, exclude)
}

func (f *faulty) Follow(deliver func([]history.Delivery)) (stop func()) {
	return f.Store.Follow(func(batch []history.Delivery) {
		f.mu.Lock()
		change := f.deliver
		f.mu.Unlock()
		if change != nil {
			batch = change(append([]history.Delivery(nil), batch...))
		}
		if len(batch) > 0 {
			deliver(batch)
		}
	})
}

// serveFaulty runs a server over a faulty store, which at the end must have
// nobody attached.
func serveFaulty(t *testing.T, change func(*conn.Config)) (*rig, *faulty) {
	f := &faulty{}
	t.Cleanup(func() {
		if n := f.attached.Load(); n != 0 {
			t.Errorf("%d connections are attached at the end", n)
		}
	})
	r := serve(t, func(cfg *conn.Config) {
		f.Store = cfg.Store
		cfg.Store = f
		if change != nil {
			change(cfg)
		}
	})
	return r, f
}

// A message that live delivery loses is fetched from history as soon as the next message
// shows the hole; what comes twice is sent once.
func TestHolesAreMended(t *testing.T) {
	r, f := serveFaulty(t, nil)
	n := 0
	f.set(func() {
		f.deliver = func(batch []history.Delivery) (out []history.Delivery) {
			for _, d := range batch {
				switch n++; n % 5 {
				case 2, 3: // lost
				case 4: // twice
					out = append(out, d, d)
				default:
					out = append(out, d)
				}
			}
			return out
		}
	})
	a, b := r.connect("a"), r.connect("b")
	const rounds = 60
	for i := 1; i <= rounds; i++ {
		switch i % 3 {
		case 0:
			r.broadcast(fmt.Sprint(i))
		case 1:
			r.multicast(fmt.Sprint(i), "a", "b", "c")
		default:
			r.unicast("a", fmt.Sprint(i))
			r.unicast("b", fmt.Sprint(i))
		}
	}
	f.set(func() { f.deliver = nil })
	r.multicast(`"end"`, "a", "b") // shows what was lost last
	r.broadcast(`"end"`)
	for _, c := range []*client{a, b} {
		got := []string{}
		ids := map[string]bool{}
		for ends := 0; ends < 2; {
			m := c.read()
			if ids[m.ID] {
				t.Errorf("message %s came twice", m.ID)
			}
			ids[m.ID] = true
			if string(m.Data) == `"end"` {
				ends++
				continue
			}
			got = append(got, string(m.Data))
		}
		if len(got) != rounds {
			t.Errorf("%d messages came, want %d: %v", len(got), rounds, got)
		}
	}
	if f.pages.Load() == 0 {
		t.Error("no hole was mended")
	}
}

func TestStoreDown(t *testing.T) {
	r, f := serveFaulty(t, nil)
	c := r.connect("a")
	f.set(func() { f.err = errors.New("the disk is gone") })
	r.wantStatus(http.StatusServiceUnavailable, r.url("a"))
	c.say(`{"type":"ack","cursor":"0"}`)
	if m := c.read(); m.Type != "error" || m.Code != "unavailable" {
		t.Errorf("want the error unavailable, got %+v", m)
	}
	f.set(func() { f.err = nil })
	r.connect("a")
}

// wantStatus fails unless a handshake is answered with status.
func (r *rig) wantStatus(status int, url string, change ...func(*websocket.DialOptions)) *http.Response {
	r.t.Helper()
	opt := &websocket.DialOptions{}
	for _, f := range change {
		f(opt)
	}
	ws, resp, err := websocket.Dial(r.ctx, url, opt)
	if err == nil {
		ws.CloseNow()
		r.t.Fatalf("%s: let in, want status %d", url, status)
	}
	if resp == nil || resp.StatusCode != status {
		r.t.Fatalf("%s: want status %d, got %v", url, status, err)
	}
	return resp
}

// A page that cannot be read is asked for again; the client gets everything,
// only later.
func TestPageIsRetried(t *testing.T) {
	r, f := serveFaulty(t, nil)
	for i := 1; i <= 150; i++ {
		r.unicast("a", fmt.Sprint(i))
	}
	c := r.connect("a", "cursor", "0") // 100 of them
	f.set(func() { f.err = errors.New("not now") })
	c.wantData(numbers(1, 100)...)
	testkit.WaitFor(t, "a page to fail", func() bool { return f.pages.Load() > 0 })
	f.set(func() { f.err = nil })
	c.wantData(numbers(101, 150)...)
}

// Too many calls waiting: handshakes are answered 503, acks "unavailable".
func TestStoreQueueIsBounded(t *testing.T) {
	r, f := serveFaulty(t, func(cfg *conn.Config) { cfg.StoreWorkers, cfg.StoreQueue = 1, 1 })
	c := r.connect("a")
	gate := make(chan struct{})
	f.set(func() { f.gate = gate })
	c.say(`{"type":"ack","cursor":"0"}`) // for the worker
	testkit.WaitFor(t, "the worker to take it", func() bool { return f.waiting.Load() == 1 })
	c.say(`{"type":"ack","cursor":"0"}`) // for the queue
	c.say(`{"type":"ack","cursor":"0"}`)
	if m := c.read(); m.Code != "unavailable" {
		t.Fatalf("want the error unavailable, got %+v", m)
	}
	r.wantStatus(http.StatusServiceUnavailable, r.url("b"))
	close(gate)
	if m := c.read(); m.Type != "acked" {
		t.Fatalf("want acked, got %+v", m)
	}
}

// Clients that leave while the store is asked for them leave nothing behind.
func TestGoneWhileAttaching(t *testing.T) {
	r, f := serveFaulty(t, nil)
	gate := make(chan struct{})
	f.set(func() { f.gate = gate })
	var wg sync.WaitGroup
	const clients = 20
	ctx, cancel := context.WithCancel(r.ctx)
	for range clients {
		wg.Go(func() {
			if ws, _, err := websocket.Dial(ctx, r.url("a"), nil); err == nil {
				ws.CloseNow()
			}
		})
	}
	testkit.WaitFor(t, "the store to be asked", func() bool { return f.attaches.Load() == clients })
	cancel()
	wg.Wait()
	close(gate)
	testkit.WaitFor(t, "all to be detached", func() bool { return f.attached.Load() == 0 })
	r.unicast("a", "1")
	r.connect("a", "cursor", "0").wantData("1")
}

// A shutdown in the middle of everything: no connection stays attached, and
// Shutdown comes to its end.
func TestShutdownWhileAttaching(t *testing.T) {
	r, f := serveFaulty(t, func(cfg *conn.Config) { cfg.StoreTimeout = 50 * time.Millisecond })
	r.connect("a")
	f.set(func() { f.gate = make(chan struct{}) }) // never opened
	done := make(chan struct{})
	go func() {
		defer close(done)
		if ws, _, err := websocket.Dial(r.ctx, r.url("b"), nil); err == nil {
			ws.CloseNow()
			t.Error("let in by a store that does not answer")
		}
	}()
	testkit.WaitFor(t, "the store to be asked", func() bool { return f.attaches.Load() == 2 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	<-done
}

// A loop that cannot keep up slows the publishers down; nothing is lost.
func TestFullMailboxSlowsPublishersDown(t *testing.T) {
	r := serve(t, func(cfg *conn.Config) {
		cfg.DeliveryQueueBytes = 1
		cfg.Limits.Loops = 1
	})
	c := r.connect("a")
	go func() {
		for i := 1; i <= 500; i++ {
			if _, err := r.store.Append(r.ctx, history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: fmt.Append(nil, i)}); err != nil {
				t.Error(err)
			}
		}
	}()
	c.wantData(numbers(1, 500)...)
}
