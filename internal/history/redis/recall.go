package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pushd.example/internal/history"
)

// Recall implements history.Messages. All that it does may be done twice.
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
	results := make(chan error, len(a.shares))
	for _, sh := range a.shares {
		go func() { results <- sh.recall(ctx, a.kind, a.id) }()
	}
	for range a.shares {
		errs = errors.Join(errs, <-results)
	}
	return halfDone(errs, len(a.shares) > 1)
}

// recall takes the message back from the users of a partition.
func (sh share) recall(ctx context.Context, kind history.Kind, id history.ID) error {
	begun := false
	for user, own := range sh.apart {
		if err := sh.recallChunk(ctx, recalling{id: own, kind: kind, users: []string{user}, alone: true}); err != nil {
			return halfDone(err, begun)
		}
		begun = true
	}
	users := slices.DeleteFunc(slices.Clone(sh.users), func(user string) bool { return sh.apart[user] != 0 })
	for chunk := range slices.Chunk(users, maxChunk) {
		r := recalling{id: id, kind: kind, users: chunk, alone: kind == history.Unicast}
		if err := sh.recallChunk(ctx, r); err != nil {
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

// recalling is what recall.lua is told.
type recalling struct {
	id    history.ID
	kind  history.Kind
	users []string
	alone bool // the one user has it alone
}

// Outcomes of the scripts that recall.
const (
	recallNewNode = 2
	recallBehind  = 3
)

func (p *partition) recallChunk(ctx context.Context, r recalling) error {
	for range maxRefresh {
		reply, err := p.writes.do(ctx, p.recallCommand(r), p.store.conf.Durability == history.Replicated)
		if err != nil || reply != int64(recallNewNode) {
			return err
		}
		if err := p.refreshNodes(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: recalling: nodes come and go", history.ErrUnknown)
}

func (p *partition) recallCommand(r recalling) []any {
	s, nodes := p.store, p.nodesNow()
	keys := []string{p.recalled, p.bodies, p.presence, p.leases, p.inbox(r.users[0]), p.meta(r.users[0])}
	var flags byte
	if r.kind == history.Multicast {
		flags = flagMulticast
	}
	args := []any{s.clock(), uint64(r.id), int(flags), millis(s.conf.Retention.InboxAge), bit(r.alone), len(r.users), len(nodes)}
	for _, user := range r.users {
		args = append(args, user)
	}
	for _, node := range nodes {
		keys, args = append(keys, p.stream(node)), append(args, node)
	}
	return recallScript.call(keys, args...)
}

// recallBroadcast takes a broadcast back in all partitions, in the home
// partition last: from there all nodes are told.
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

func (p *partition) recallBroadcast(ctx context.Context, id history.ID, tell bool) error {
	replicate := p.store.conf.Durability == history.Replicated
	for range maxRefresh {
		keys, args := []string{p.log, p.back, p.ends, p.expired, p.leases}, []any{id.String()}
		if tell {
			for _, node := range p.nodesNow() {
				keys, args = append(keys, p.stream(node)), append(args, node)
			}
		}
		reply, err := p.writes.do(ctx, backScript.call(keys, args...), replicate)
		switch {
		case err != nil:
			return err
		case reply == int64(recallNewNode):
			err = p.refreshNodes(ctx)
		case reply == int64(recallBehind):
			err = p.store.fill(ctx, p, replicate)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: recalling: nodes come and go", history.ErrUnknown)
}
