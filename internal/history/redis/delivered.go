package redis

import (
	"context"
	"errors"

	"pushd/internal/history"
)

// NoteDelivered implements history.Sent.
func (s *Store) NoteDelivered(context.Context, history.Deliveries) error {
	return errors.New("not written yet")
}
