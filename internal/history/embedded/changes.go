package embedded

import (
	"context"

	"github.com/cockroachdb/pebble/v2"
)

// Callers build some changes themselves, one at a time, so that what one reads has
// not changed when it is stored. The committer only stores them, as one piece: a
// batch of thousands costs appends little more than its bytes.

// inTurn calls do while no other call has the turn. The caller has entered; inTurn
// leaves. The caller must not use what do has written if there was an error.
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

// change stores what build puts into a batch, if that is anything. The caller has
// the turn of the data that build reads. A lax change need not be synced on its own.
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
	// The batch is ours until it is answered, even if the caller gives up.
	if err := s.submit(context.Background(), r); err != nil {
		return err
	}
	err := r.err
	s.recycle(r)
	return err
}
