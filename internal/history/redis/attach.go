package redis

import (
	"context"

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

// attach counts a connection, also if it returns an error.
func (p *partition) attach(ctx context.Context, user string, start history.Start) (history.Attachment, error) {
	// The order in which counts change is that in which they are sent.
	p.mu.Lock()
	p.connections[user]++
	o := &op{ctx: ctx, cmd: attachScript.call(append(p.viewKeys(user), p.registerKeys()...), p.store.viewArgs(
		int(start.At), uint64(start.Cursor.Inbox), uint64(start.Cursor.Broadcast), start.Limit, start.MaxBytes,
		p.node, user, p.connections[user],
	)...)}
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

// Detach implements history.Store. It does not wait for Redis, but comes there
// before whatever is called later.
func (s *Store) Detach(user string) {
	if s.enter(context.Background()) != nil {
		return
	}
	defer s.life.RUnlock()
	s.partitionOf(user).add(user, -1)
}

// add changes how many connections the node has of user. While Redis is away
// only the node knows; it tells when it joins again.
func (p *partition) add(user string, n int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := p.connections[user] + n
	if count > 0 {
		p.connections[user] = count
	} else {
		delete(p.connections, user)
	}
	_ = p.writes.put(&op{must: true, cmd: registerScript.call(p.registerKeys(), p.store.clock(), p.node, user, count)})
}

// registerKeys are the keys of presence.lua.
func (p *partition) registerKeys() []string {
	return []string{p.presence, p.counts, p.leases, p.events, p.watch, p.leaving}
}

// registerBatch is how many users one script registers.
const registerBatch = 200

// registerLocked sends all connections of the node, and returns what to wait
// for. It needs p.mu.
func (p *partition) registerLocked() (ops []*op, err error) {
	const first = 2
	args := make([]any, 0, first+2*registerBatch)
	flush := func() {
		if err == nil && len(args) > first {
			o := &op{must: true, cmd: registerScript.call(p.registerKeys(), args...)}
			err = p.writes.put(o)
			ops = append(ops, o)
		}
		args = append(args[:0], p.store.clock(), p.node)
	}
	flush()
	for user, n := range p.connections {
		if args = append(args, user, n); len(args) >= first+2*registerBatch {
			flush()
		}
	}
	flush()
	return ops, err
}
