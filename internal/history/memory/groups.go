package memory

import (
	"context"
	"maps"
	"slices"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// set is some users.
type set map[string]bool

// AddMembers implements history.Groups.
func (s *Store) AddMembers(ctx context.Context, group string, users []string) (int, error) {
	return s.changeMembers(ctx, group, users, true)
}

// RemoveMembers implements history.Groups.
func (s *Store) RemoveMembers(ctx context.Context, group string, users []string) (int, error) {
	return s.changeMembers(ctx, group, users, false)
}

// changeMembers makes users members of group, or not, and returns how many were
// not so before.
func (s *Store) changeMembers(ctx context.Context, group string, users []string, in bool) (changed int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openLocked(ctx); err != nil {
		return 0, err
	}
	if err := engine.CheckMembers(group, users); err != nil {
		return 0, err
	}
	members := set{}
	maps.Copy(members, s.groups[group])
	for _, user := range users {
		if members[user] != in {
			changed++
		}
		members[user] = in
	}
	maps.DeleteFunc(members, func(_ string, in bool) bool { return !in })
	s.groups[group] = members
	if len(members) == 0 {
		delete(s.groups, group)
	}
	return changed, nil
}

// Members implements history.Groups.
func (s *Store) Members(ctx context.Context, group, after string, limit int) ([]string, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openLocked(ctx); err != nil {
		return nil, false, err
	}
	if err := history.CheckGroup(group); err != nil {
		return nil, false, err
	}
	return list(s.groups[group], after, limit)
}

// GroupsOf implements history.Groups.
func (s *Store) GroupsOf(ctx context.Context, user, after string, limit int) ([]string, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(ctx, user); err != nil {
		return nil, false, err
	}
	groups := set{}
	for group, members := range s.groups {
		if members[user] {
			groups[group] = true
		}
	}
	return list(groups, after, limit)
}

// list returns the first limit names of all after the given one, and whether
// there are more.
func list(all set, after string, limit int) (names []string, more bool, err error) {
	if err := engine.CheckList(limit); err != nil {
		return nil, false, err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name <= after {
			continue
		}
		if len(names) == limit {
			return names, true, nil
		}
		names = append(names, name)
	}
	return names, false, nil
}

// DeleteGroup implements history.Groups.
func (s *Store) DeleteGroup(ctx context.Context, group string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openLocked(ctx); err != nil {
		return 0, err
	}
	if err := history.CheckGroup(group); err != nil {
		return 0, err
	}
	removed := len(s.groups[group])
	delete(s.groups, group)
	return removed, nil
}
