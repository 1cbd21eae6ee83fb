package redis

import (
	"context"
	"maps"
	"slices"

	"pushd.example/internal/history"
)

// Attach implements history.Store. The script registers how many connections
// the node has of the user, not one more: so it may be sent twice.
func (s *Store) Attach(ctx context.Context, user string, start history.Start) (history.Attachment, error) {
	if err := s.enterFor(ctx, user); err != nil {
		return history.Attachment{}, err
	}
	defer s.life.RUnlock()
	if err := start.Check(); err != nil {
		return history.Attachment{}, err
	}
	p := s.partitionOf(user)
	a, err := p.attach(ctx, user, start)
	if err != nil {
		p.add(user, -1)
		return history.Attachment{}, harmless(err)
	}
	return a, nil
}

// attachCall is what attach.lua is called with.
type attachCall struct {
	view
	pageSize
	start history.StartAt
	after history.Cursor
	node  string
	count int32 // connections of the user on the node
}

func (c attachCall) declare(w *wire, k *keys) {
	c.view.declare(w, k)
	declarePage(w, k)
	c.pageSize.declare(w)
	declarePresence(w, k)
	w.number("start", int64(c.start))
	w.cursor("after", c.after)
	w.text("node", c.node)
	w.text("user", c.user)
	w.number("count", int64(c.count))
}

// attach counts a connection, also if it returns an error.
func (p *partition) attach(ctx context.Context, user string, start history.Start) (history.Attachment, error) {
	// The order in which counts change is that in which they are sent.
	p.mu.Lock()
	p.connections[user]++
	o := &op{ctx: ctx, cmd: attachScript.call(&p.keys, attachCall{
		view: p.view(user), pageSize: pageSize{start.Limit, start.MaxBytes}, start: start.At, after: start.Cursor,
		node: p.node, count: p.connections[user],
	})}
	err := p.writes.put(o)
	p.mu.Unlock()
	if err != nil {
		return history.Attachment{}, err
	}
	reply, err := o.wait(ctx)
	if err != nil {
		return history.Attachment{}, err
	}
	r := reader{reply: reply}
	unread := r.int()
	if unread < 0 {
		return history.Attachment{}, futureCursor(start.Cursor)
	}
	a := history.Attachment{Connections: r.int(), From: r.cursor(), Page: r.page()}
	a.Page.Unread = unread
	return a, r.err
}

// Detach implements history.Store. It does not wait for Redis, which gets it before
// everything that is called later.
func (s *Store) Detach(user string) {
	if s.enter(context.Background()) != nil {
		return
	}
	defer s.life.RUnlock()
	s.partitionOf(user).add(user, -1)
}

// add changes how many connections the node has of user. While Redis is away, only
// the node knows; it registers them when it joins again.
func (p *partition) add(user string, n int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := p.connections[user] + n
	if count > 0 {
		p.connections[user] = count
	} else {
		delete(p.connections, user)
	}
	_ = p.writes.put(&op{must: true, cmd: registerScript.call(&p.keys, registerCall{p.store.clock(), p.node, []string{user}, []int32{count}})})
}

// registerCall is what register.lua is called with.
type registerCall struct {
	clock  any
	node   string
	users  []string
	counts []int32 // connections of each user on the node
}

func (c registerCall) declare(w *wire, k *keys) {
	declarePresence(w, k)
	w.time(c.clock)
	w.text("node", c.node)
	w.texts("users", c.users)
	w.list("counts", len(c.counts), func(i int) any { return c.counts[i] })
}

// declarePresence declares what a script needs to register connections.
func declarePresence(w *wire, k *keys) {
	w.key("PRESENCE", k.presence)
	w.key("COUNTS", k.counts)
	w.key("LEASES", k.leases)
	declareEvents(w, k)
	w.key("LINGERING", k.lingering)
}

// registerBatch is how many users one script registers.
const registerBatch = 200

// registerLocked sends all connections of the node, and returns what to wait
// for. It needs p.mu.
func (p *partition) registerLocked() (ops []*op, err error) {
	users := slices.Collect(maps.Keys(p.connections))
	for batch := range slices.Chunk(users, registerBatch) {
		c := registerCall{clock: p.store.clock(), node: p.node, users: batch}
		for _, user := range batch {
			c.counts = append(c.counts, p.connections[user])
		}
		o := &op{must: true, cmd: registerScript.call(&p.keys, c)}
		if err := p.writes.put(o); err != nil {
			return ops, err
		}
		ops = append(ops, o)
	}
	return ops, nil
}
