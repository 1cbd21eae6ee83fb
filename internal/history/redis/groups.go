package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// maxMembers is how many users one script adds to a group or removes from it.
const maxMembers = 1000

// AddMembers implements history.Groups.
func (s *Store) AddMembers(ctx context.Context, group string, users []string) (int, error) {
	return s.changeMembers(ctx, group, users, addMembersScript)
}

// RemoveMembers implements history.Groups.
func (s *Store) RemoveMembers(ctx context.Context, group string, users []string) (int, error) {
	return s.changeMembers(ctx, group, users, removeMembersScript)
}

func (s *Store) changeMembers(ctx context.Context, group string, users []string, change script[membersCall]) (int, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.life.RUnlock()
	if err := engine.CheckMembers(group, users); err != nil {
		return 0, err
	}
	return s.change(ctx, group, users, change)
}

// change runs a script over users, those of each partition in batches, all at
// once.
func (s *Store) change(ctx context.Context, group string, users []string, change script[membersCall]) (int, error) {
	of := make([][]string, len(s.partitions))
	for _, user := range users {
		n := s.partitionOf(user).number
		of[n] = append(of[n], user)
	}
	var ops []*op
	var errs error
	for i, users := range of {
		p := s.partitions[i]
		for batch := range slices.Chunk(users, maxMembers) {
			o := &op{ctx: ctx, cmd: change.call(&p.keys, membersCall{group, batch}), replicate: s.conf.Durability == history.Replicated}
			if err := p.writes.put(o); err != nil {
				errs = errors.Join(errs, err)
				break
			}
			ops = append(ops, o)
		}
	}
	changed := 0
	for _, o := range ops {
		reply, err := o.wait(ctx)
		if n, ok := reply.(int64); ok {
			changed += int(n)
		}
		errs = errors.Join(errs, err)
	}
	if errs != nil && changed > 0 && !errors.Is(errs, history.ErrUnknown) {
		errs = fmt.Errorf("%w: %w", history.ErrUnknown, errs)
	}
	return changed, errs
}

// membersCall is what members_add.lua and members_remove.lua are called with.
type membersCall struct {
	group string
	users []string
}

func (c membersCall) declare(w *wire, k *keys) {
	w.key("MEMBERS", k.members(c.group))
	w.text("group", c.group)
	w.texts("users", c.users)
	w.keyEach("GROUPS", c.users, k.groups)
}

// Members implements history.Groups: the first of all partitions, merged.
func (s *Store) Members(ctx context.Context, group, after string, limit int) ([]string, bool, error) {
	if err := s.enter(ctx); err != nil {
		return nil, false, err
	}
	defer s.life.RUnlock()
	if err := errors.Join(history.CheckGroup(group), engine.CheckList(limit)); err != nil {
		return nil, false, err
	}
	users, err := s.members(ctx, group, after, limit)
	if err != nil {
		return nil, false, err
	}
	if len(users) > limit {
		return users[:limit], true, nil
	}
	return users, false, nil
}

// members returns the first limit+1 members, or more.
func (s *Store) members(ctx context.Context, group, after string, limit int) (users []string, err error) {
	ops := make([]*op, 0, len(s.partitions))
	for _, p := range s.partitions {
		o := &op{ctx: ctx, cmd: rangeCommand(p.members(group), after, limit)}
		if err := p.reads.put(o); err != nil {
			return nil, err
		}
		ops = append(ops, o)
	}
	for _, o := range ops {
		reply, failed := o.wait(ctx)
		users, err = append(users, texts(reply)...), errors.Join(err, failed)
	}
	slices.Sort(users)
	return users, harmless(err)
}

// rangeCommand reads limit+1 names after the given one: the last one only tells
// that there are more.
func rangeCommand(key, after string, limit int) []any {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	return []any{"zrange", key, from, "+", "bylex", "limit", 0, limit + 1}
}

// GroupsOf implements history.Groups.
func (s *Store) GroupsOf(ctx context.Context, user, after string, limit int) ([]string, bool, error) {
	if err := s.enterFor(ctx, user); err != nil {
		return nil, false, err
	}
	defer s.life.RUnlock()
	if err := engine.CheckList(limit); err != nil {
		return nil, false, err
	}
	p := s.partitionOf(user)
	reply, err := p.reads.do(ctx, rangeCommand(p.groups(user), after, limit), false)
	if err != nil {
		return nil, false, harmless(err)
	}
	groups := texts(reply)
	if len(groups) > limit {
		return groups[:limit], true, nil
	}
	return groups, false, nil
}

// DeleteGroup implements history.Groups. It reads members and removes them until
// there are none, since scripts must be given the keys of users that they change.
func (s *Store) DeleteGroup(ctx context.Context, group string) (int, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.life.RUnlock()
	if err := history.CheckGroup(group); err != nil {
		return 0, err
	}
	for removed := 0; ; {
		users, err := s.members(ctx, group, "", maxMembers)
		if err != nil || len(users) == 0 {
			return removed, err
		}
		n, err := s.change(ctx, group, users, removeMembersScript)
		if removed += n; err != nil {
			return removed, err
		}
	}
}
