package historytest

import (
	"math/rand/v2"
	"sync"

	"pushd.example/internal/history"
)

// hub hands deliveries on to connections, as a node does.
type hub struct {
	mu    sync.Mutex
	conns map[*conn]bool
}

// conn is a connection that comes and goes, and resumes with its cursor.
type conn struct {
	*rig
	user  string
	acks  bool // it starts from the read mark, which it alone moves
	at    history.Cursor
	got   []history.Message // all that it ever read, in the order that it did
	woken chan struct{}     // has room for one

	queue []history.Delivery // guarded by hub.mu
}

func (h *hub) deliver(d history.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		if mine, ok := concerning(d, c.user); ok {
			c.queue = append(c.queue, mine)
			select {
			case c.woken <- struct{}{}:
			default:
			}
		}
	}
}

// concerning returns d as far as it is user's.
func concerning(d history.Delivery, user string) (history.Delivery, bool) {
	if d.Message.Kind == history.Broadcast {
		return d, true
	}
	for _, to := range d.Recipients {
		if to.User == user {
			d.Recipients = []history.Recipient{to}
			return d, true
		}
	}
	return d, false
}

func (h *hub) join(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.queue = nil
	h.conns[c] = true
}

func (h *hub) leave(c *conn) []history.Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	return c.queue
}

// noGap lets connections come and go while messages arrive. Page after cursor,
// then the deliveries past it: that must be the history, exactly.
func noGap(r *rig) {
	f, h := r.follow(), &hub{conns: map[*conn]bool{}}
	f.onDelivery(h.deliver)
	t := startTraffic(r, 3, 200)
	var conns []*conn
	var wg sync.WaitGroup
	for i := range 2 * len(crowd) {
		c := &conn{rig: r, user: crowd[i/2], acks: i%2 == 0, woken: make(chan struct{}, 1)}
		conns = append(conns, c)
		wg.Go(func() { c.comeAndGo(h, t, rand.New(rand.NewPCG(3, uint64(i)))) })
	}
	wg.Wait()
	for _, c := range conns {
		all := r.forward(c.user, history.Cursor{}).Messages
		got := append(c.got, r.forward(c.user, c.at).Messages...)
		r.wantInOrder("what a connection of "+c.user+" got", got, all)
	}
}

func (c *conn) comeAndGo(h *hub, t *traffic, rnd *rand.Rand) {
	for t.running() {
		h.join(c)
		if !c.replay() {
			h.leave(c)
			return
		}
		for range rnd.IntN(4) {
			select {
			case <-c.woken:
			case <-t.done:
			}
		}
		// Deliveries after Detach are not promised: the store may leave out a
		// multicast to a user who has left, and deliver a broadcast after it.
		got := h.leave(c)
		c.store.Detach(c.user)
		c.live(got)
	}
}

// replay attaches and reads up to the heads.
func (c *conn) replay() bool {
	s := history.Start{At: history.StartAfter, Cursor: c.at, Limit: 3}
	if c.acks {
		s = history.Start{At: history.StartUnread, Limit: 3}
		if _, err := c.store.Ack(c.ctx, c.user, c.at, ""); err != nil {
			c.Errorf("acking: %v", err)
			return false
		}
	}
	a, err := c.store.Attach(c.ctx, c.user, s)
	if err != nil || a.From != c.at {
		c.Errorf("attached at %+v: from %+v, %v", c.at, a.From, err)
		return false
	}
	for p := a.Page; ; {
		c.got, c.at = append(c.got, p.Messages...), p.Cursor
		if !p.HasMore {
			return true
		}
		p, err = c.store.Page(c.ctx, c.user, history.Query{Direction: history.Forward, After: c.at, Limit: 5})
		if err != nil {
			c.Errorf("paging: %v", err)
			c.store.Detach(c.user)
			return false
		}
	}
}

// live takes the deliveries: those up to the cursor were on the pages, and the
// chain of Prev leads on from it.
func (c *conn) live(queue []history.Delivery) {
	for _, d := range queue {
		if d.Acked != nil {
			continue
		}
		last, prev := c.at.Inbox, d.Prev
		if d.Message.Kind == history.Broadcast {
			last = c.at.Broadcast
		} else {
			prev = d.Recipients[0].Prev
		}
		if d.Message.ID <= last {
			continue
		}
		if prev != last {
			c.Errorf("%s: %v %d comes after %d, the connection stands at %d", c.user, d.Message.Kind, d.Message.ID, prev, last)
		}
		c.got, c.at = append(c.got, d.Message), cursorOf(c.at, d.Message)
	}
}

// attachOwes attaches as often as it can while messages arrive, to meet an
// append in the middle of it. If a page then shows messages past the heads that the
// attach saw, the follower must have got them.
func attachOwes(r *rig) {
	f := r.follow()
	t := startTraffic(r, 3, 100)
	owed := make([][]history.Message, len(crowd))
	var wg sync.WaitGroup
	for i, user := range crowd {
		wg.Go(func() {
			for t.running() {
				owed[i] = append(owed[i], r.glimpse(user)...)
			}
		})
	}
	wg.Wait()
	delivered := map[string]bool{}
	for _, d := range f.take() {
		for _, user := range crowd {
			if _, ok := concerning(d, user); ok {
				delivered[user+d.Message.ID.String()] = true
			}
		}
	}
	for i, user := range crowd {
		for _, m := range owed[i] {
			if !delivered[user+m.ID.String()] {
				r.Errorf("%v %d came after an attach of %s and was not delivered", m.Kind, m.ID, user)
			}
		}
	}
}

// glimpse attaches user at the heads and returns what came before it detached.
func (r *rig) glimpse(user string) []history.Message {
	a, err := r.store.Attach(r.ctx, user, history.Start{})
	if err != nil {
		r.Errorf("attaching: %v", err)
		return nil
	}
	defer r.store.Detach(user)
	p, err := r.store.Page(r.ctx, user, history.Query{Direction: history.Forward, After: a.From, Limit: all})
	if err != nil {
		r.Errorf("paging: %v", err)
	}
	return p.Messages
}
