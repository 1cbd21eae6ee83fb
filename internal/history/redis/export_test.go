package redis

import (
	"context"
	"errors"
	"time"

	"pushd.example/internal/history"
)

// Align returns the first id from the given one on that s may give to p.
func Align(s *Store, p history.Push, id history.ID) history.ID {
	n := history.ID(len(s.partitions))
	own := history.ID(0)
	if p.Kind != history.Broadcast {
		own = history.ID(s.partitionOf(p.Users[0]).number)
	}
	for id%n != own {
		id++
	}
	return id
}

// Settle waits until all that was appended has been handed to the follower of
// s: what a probe that is sent now comes after.
func Settle(ctx context.Context, s *Store) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, p := range s.partitions {
		if err := p.probe(ctx, true); err != nil && !errors.Is(err, history.ErrClosed) {
			return err
		}
	}
	return nil
}

// Tag returns the hash tag of the first partition.
func Tag(s *Store) string { return tags(len(s.partitions))[0] }
