package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// A membership is two keys without values, one in the list of the group's
// members and one in the list of the user's groups, written and deleted
// together. Changes take turns.

// AddMembers implements history.Groups.
func (s *Store) AddMembers(ctx context.Context, group string, users []string) (int, error) {
	return s.changeMembers(ctx, group, users, true, func(b *pebble.Batch, key []byte) error {
		return b.Set(key, nil, nil)
	})
}

// RemoveMembers implements history.Groups.
func (s *Store) RemoveMembers(ctx context.Context, group string, users []string) (int, error) {
	return s.changeMembers(ctx, group, users, false, func(b *pebble.Batch, key []byte) error {
		return b.Delete(key, nil)
	})
}

// changeMembers makes users members of group, or not, and returns how many were
// not so before. It calls write for both keys of each user whose membership
// changes.
func (s *Store) changeMembers(ctx context.Context, group string, users []string, in bool, write func(*pebble.Batch, []byte) error) (int, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	if err := engine.CheckMembers(group, users); err != nil {
		s.life.RUnlock()
		return 0, err
	}
	users = slices.Sorted(slices.Values(users)) // a copy: the caller may leave early
	users = slices.Compact(users)
	return s.regroup(ctx, func(b *pebble.Batch) (changed int, err error) {
		var key []byte
		for _, user := range users {
			key = appendNameKey(key[:0], tagMember, group, user)
			was, err := s.has(key)
			if err != nil {
				return 0, err
			}
			if was == in {
				continue
			}
			changed++
			if err := write(b, key); err != nil {
				return 0, err
			}
			key = appendNameKey(key[:0], tagGroupOf, user, group)
			if err := write(b, key); err != nil {
				return 0, err
			}
		}
		return changed, nil
	})
}

// has says whether key is there. It gets each key by itself: an iterator that
// looks for one walks over all that was deleted behind it.
func (s *Store) has(key []byte) (bool, error) {
	_, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, closer.Close()
}

// manyMembers is how many it takes for one range deletion, which all later
// reads near it pass, to be less trouble than as many deletions.
const manyMembers = 1000

// DeleteGroup implements history.Groups.
func (s *Store) DeleteGroup(ctx context.Context, group string) (int, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	if err := history.CheckGroup(group); err != nil {
		s.life.RUnlock()
		return 0, err
	}
	return s.regroup(ctx, func(b *pebble.Batch) (int, error) { return s.dropMembers(b, group) })
}

// dropMembers deletes group, and returns how many members it had.
func (s *Store) dropMembers(b *pebble.Batch, group string) (removed int, err error) {
	it, err := s.names(tagMember, group, "")
	if err != nil {
		return 0, err
	}
	defer it.Close()
	prefix := len(appendNameKey(nil, tagMember, group, ""))
	var key []byte
	for ok := it.First(); ok; ok = it.Next() {
		key = appendNameKey(key[:0], tagGroupOf, string(it.Key()[prefix:]), group)
		if err := b.Delete(key, nil); err != nil {
			return 0, err
		}
		removed++
	}
	if removed > manyMembers {
		lower, upper := nameBounds(tagMember, group, "")
		return removed, errors.Join(it.Error(), b.DeleteRange(lower, upper, nil))
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := b.Delete(it.Key(), nil); err != nil {
			return 0, err
		}
	}
	return removed, it.Error()
}

// regroup builds a change of groups and stores it, while no other is built or
// stored. The caller has entered; regroup leaves.
func (s *Store) regroup(ctx context.Context, build func(*pebble.Batch) (int, error)) (int, error) {
	changed := 0
	err := s.inTurn(ctx, s.grouping, func() error {
		return s.change(false, func(b *pebble.Batch) error {
			n, err := build(b)
			if err != nil {
				return fmt.Errorf("building a change of a group: %w", err)
			}
			changed = n
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}

// Members implements history.Groups.
func (s *Store) Members(ctx context.Context, group, after string, limit int) ([]string, bool, error) {
	return s.list(ctx, tagMember, history.CheckGroup, group, after, limit)
}

// GroupsOf implements history.Groups.
func (s *Store) GroupsOf(ctx context.Context, user, after string, limit int) ([]string, bool, error) {
	return s.list(ctx, tagGroupOf, history.CheckUser, user, after, limit)
}

func (s *Store) list(ctx context.Context, tag byte, check func(string) error, of, after string, limit int) (names []string, more bool, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, false, err
	}
	defer s.life.RUnlock()
	if err := check(of); err != nil {
		return nil, false, err
	}
	if err := engine.CheckList(limit); err != nil {
		return nil, false, err
	}
	it, err := s.names(tag, of, after)
	if err != nil {
		return nil, false, err
	}
	defer it.Close()
	prefix := len(appendNameKey(nil, tag, of, ""))
	for ok := it.First(); ok; ok = it.Next() {
		if len(names) == limit {
			return names, true, nil
		}
		names = append(names, string(it.Key()[prefix:]))
	}
	if err := it.Error(); err != nil {
		return nil, false, fmt.Errorf("reading a group: %w", err)
	}
	return names, false, nil
}

// names iterates over a list of names, those after the given one.
func (s *Store) names(tag byte, of, after string) (*pebble.Iterator, error) {
	lower, upper := nameBounds(tag, of, after)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("reading a group: %w", err)
	}
	return it, nil
}

// nameBounds begin with what follows after, even if that is no name, and end
// with a byte that begins no name: names are UTF-8.
func nameBounds(tag byte, of, after string) (lower, upper []byte) {
	lower = append(appendNameKey(nil, tag, of, after), 0)
	upper = append(appendNameKey(nil, tag, of, ""), 0xff)
	if bytes.Compare(lower, upper) > 0 {
		lower = upper
	}
	return lower, upper
}
