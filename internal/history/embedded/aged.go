package embedded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Appends trim the inboxes that they go to. For users who get nothing more, a
// goroutine of Open's visits all users in the order of their keys, once an hour and
// a chunk at a time, and has the inboxes trimmed whose oldest entry is past its age.

const (
	// agedChunk is how many users one step visits, agedPause the pause between two
	// steps: 50,000 users a second at most, about 1 ms of reading a step.
	agedChunk = 1024
	agedPause = 20 * time.Millisecond
)

// trimAged runs until the store closes.
func (s *Store) trimAged() {
	first := []byte{tagMeta}
	from := first
	pause := time.NewTimer(agedPause)
	defer pause.Stop()
	for {
		select {
		case <-s.ending:
			return
		case <-pause.C:
		}
		next, err := s.trimAgedStep(from)
		if err != nil {
			s.conf.Log.Warn("history could not trim inboxes past their age", "error", err)
		}
		if next == nil || err != nil {
			from = first
			pause.Reset(maintainEvery)
			continue
		}
		from = next
		pause.Reset(agedPause)
	}
}

// trimAgedStep has the inboxes of a chunk of users trimmed and returns the key to go
// on from, nil at the end. A store that is read-only or closing stays where it is.
func (s *Store) trimAgedStep(from []byte) ([]byte, error) {
	if !s.life.TryRLock() {
		return from, nil
	}
	defer s.life.RUnlock()
	if s.usable() != nil || s.fault.Load().isBlown() {
		return from, nil
	}
	due, next, err := s.findAged(from)
	if err != nil {
		return nil, fmt.Errorf("reading metas: %w", err)
	}
	return next, s.trimDue(context.Background(), due, true)
}

// findAged returns the users, of a chunk from a key on, whose inboxes are due to be
// trimmed, and the key behind them, nil at the end.
func (s *Store) findAged(from []byte) (due []target, next []byte, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{tagMeta + 1}})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	now := s.conf.Now()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n > agedChunk {
			return due, append([]byte(nil), it.Key()...), nil
		}
		m := member{user: string(it.Key()[2:])}
		if m.meta, err = parseMeta(it.Value()); err != nil {
			return nil, nil, err
		}
		if _, _, trim := s.dueToTrim(&m, now); trim {
			due = append(due, target{user: m.user})
		}
	}
	return due, nil, nil
}
