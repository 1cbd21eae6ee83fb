package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pushd.example/internal/history"
)

// Recall implements history.Messages. All of its steps are safe to repeat.
func (s *Store) Recall(ctx context.Context, id history.ID) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.life.RUnlock()
	a, err := s.find(ctx, id)
	if err != nil {
		return err
	}
	if a.kind == history.Broadcast {
		return s.recallBroadcast(ctx, a.id)
	}
	var errs error
	results := make(chan error, len(a.parts))
	for _, part := range a.parts {
		go func() { results <- part.recall(ctx, a.kind, a.id) }()
	}
	for range a.parts {
		errs = errors.Join(errs, <-results)
	}
	return halfDone(errs, len(a.parts) > 1)
}

// recall recalls the message from the users of a partition.
func (r recipients) recall(ctx context.Context, kind history.Kind, id history.ID) error {
	var flags byte
	if kind == history.Multicast {
		flags = flagMulticast
	}
	begun := false
	for user, own := range r.ownIDs {
		if err := r.recallChunk(ctx, recallCall{id: own, flags: flags, users: []string{user}, alone: true}); err != nil {
			return halfDone(err, begun)
		}
		begun = true
	}
	users := slices.DeleteFunc(slices.Clone(r.users), func(user string) bool { return r.ownIDs[user] != 0 })
	for chunk := range slices.Chunk(users, maxChunk) {
		c := recallCall{id: id, flags: flags, users: chunk, alone: kind == history.Unicast}
		if err := r.recallChunk(ctx, c); err != nil {
			return halfDone(err, begun)
		}
		begun = true
	}
	return nil
}

// halfDone makes err say that part of a recall may have been done.
func halfDone(err error, part bool) error {
	if err == nil || !part || errors.Is(err, history.ErrUnknown) {
		return err
	}
	return fmt.Errorf("%w: recalling: %w", history.ErrUnknown, err)
}

// recallCall is what recall.lua is called with.
type recallCall struct {
	clock any
	nodeStreams
	inboxAge time.Duration
	id       history.ID
	flags    byte
	users    []string
	alone    bool // the one user has the message under an id of its own
}

func (c recallCall) declare(w *wire, k *keys) {
	w.key("RECALLED", k.recalled)
	w.key("BODIES", k.bodies)
	w.key("PRESENCE", k.presence)
	first := ""
	if len(c.users) > 0 {
		first = c.users[0]
	}
	w.key("INBOX", k.inbox(first))
	w.key("META", k.meta(first))
	w.time(c.clock)
	w.duration("inbox_age", c.inboxAge)
	w.id("id", c.id)
	w.number("flags", int64(c.flags))
	w.flag("alone", c.alone)
	c.nodeStreams.declareSingle(w, k)
	w.texts("users", c.users)
	c.nodeStreams.declare(w, k)
}

// recallChunk recalls the message of c from its users.
func (p *partition) recallChunk(ctx context.Context, c recallCall) error {
	s := p.store
	c.clock, c.inboxAge = s.clock(), s.conf.Retention.InboxAge
	return p.untilDone(ctx, func() []any {
		c.nodeStreams = p.nodeStreams()
		return recallScript.call(&p.keys, c)
	})
}

// untilDone sends a command that recalls until it is done: it learns of new nodes and
// completes the copy of the broadcast log in between.
func (p *partition) untilDone(ctx context.Context, command func() []any) error {
	replicate := p.store.conf.Durability == history.Replicated
	for range maxRefresh {
		reply, err := p.writes.do(ctx, command(), replicate)
		switch {
		case err != nil:
			return err
		case reply == int64(outcomeNewNode):
			err = p.refreshNodes(ctx)
		case reply == int64(outcomeGap):
			err = p.store.fill(ctx, p, replicate)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: recalling: new nodes joined during each of %d tries; recall again", history.ErrUnknown, maxRefresh)
}

// recallBroadcast recalls a broadcast in all partitions. The home partition comes
// last, since its script tells the nodes.
func (s *Store) recallBroadcast(ctx context.Context, id history.ID) error {
	results := make(chan error, len(s.partitions))
	for _, p := range s.partitions[1:] {
		go func() { results <- p.recallBroadcast(ctx, id, false) }()
	}
	var errs error
	for range s.partitions[1:] {
		errs = errors.Join(errs, <-results)
	}
	if errs == nil {
		errs = s.home().recallBroadcast(ctx, id, true)
	}
	return halfDone(errs, len(s.partitions) > 1)
}

// recallBroadcastCall is what recall_broadcast.lua is called with.
type recallBroadcastCall struct {
	nodeStreams
	id        history.ID
	tellNodes bool
}

func (c recallBroadcastCall) declare(w *wire, k *keys) {
	w.key("LOG", k.log)
	w.key("RECALLED_LOG", k.recalledBroadcasts)
	w.key("EXPIRIES", k.expiries)
	w.key("EXPIRED", k.expired)
	w.id("id", c.id)
	w.flag("tell_nodes", c.tellNodes)
	c.nodeStreams.declareSingle(w, k)
	c.nodeStreams.declare(w, k)
}

func (p *partition) recallBroadcast(ctx context.Context, id history.ID, tellNodes bool) error {
	return p.untilDone(ctx, func() []any {
		c := recallBroadcastCall{nodeStreams: nodeStreams{backlog: p.store.conf.Backlog}, id: id, tellNodes: tellNodes}
		if tellNodes {
			c.nodeStreams = p.nodeStreams()
		}
		return recallBroadcastScript.call(&p.keys, c)
	})
}
