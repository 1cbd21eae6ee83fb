package embedded

import (
	"context"

	"github.com/cockroachdb/pebble/v2"
)

// Some changes are built by their callers, in turns of their own, so that what
// one reads is still so when it is stored. Only storing them, as one piece, is
// the committer's: a batch of thousands costs those who append little more than
// its bytes.

// inTurn does something while nobody else has that turn. The caller has entered;
// inTurn leaves. What do leaves behind is to be looked at only if there was no
// error.
func (s *Store) inTurn(ctx context.Context, turn chan struct{}, do func() error) error {
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		s.life.RUnlock()
		return ctx.Err()
	}
	done := make(chan error, 1)
	// In a goroutine of its own, so that a caller whose context ends need not
	// wait for a slow committer; the turn ends with its answer all the same.
	go func() {
		defer s.life.RUnlock()
		defer func() { <-turn }()
		done <- do()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// change stores what build puts into a batch, if that is anything. Nobody else
// builds such a batch meanwhile. What is lax need not be synced by itself.
func (s *Store) change(lax bool, build func(*pebble.Batch) error) error {
	b := s.db.NewBatch()
	defer b.Close()
	if err := build(b); err != nil {
		return err
	}
	if b.Empty() {
		return nil
	}
	r := s.newRequest(opChanges)
	r.changes, r.lax = b, lax
	// Whatever becomes of the caller, b is ours until it is answered.
	if err := s.submit(context.Background(), r); err != nil {
		return err
	}
	err := r.err
	s.recycle(r)
	return err
}
