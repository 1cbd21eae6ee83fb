package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"pushd.example/internal/history"
)

// Reasons why Open refuses a Redis that can be reached.
var (
	// ErrVersion: older than 7.0.
	ErrVersion = errors.New("this Redis is too old")
	// ErrEviction: maxmemory-policy lets Redis delete messages.
	ErrEviction = errors.New("this Redis would evict keys")
	// ErrReplica: the server takes no writes.
	ErrReplica = errors.New("this Redis is a read-only replica")
	// ErrPassword: the password is wrong or missing.
	ErrPassword = errors.New("this Redis refuses the password")
	// ErrPartitions: the data there have another number of partitions.
	ErrPartitions = errors.New("the data have another number of partitions")
)

// fate is what is known of a command that failed.
type fate uint8

const (
	fine     fate = iota
	refused       // Redis said no; nothing was done
	away          // Redis cannot be reached, or takes no writes; nothing was done
	moving        // its slot is being moved; nothing was done, and a retry succeeds soon
	unknown       // the connection ended before the answer came
	unproven      // it was done, but no replica confirmed it
	silent        // no answer came in time
	broken        // Redis gave a reply that no operator can cause
)

// fateOf says what the error of a command means for it.
func fateOf(err error) fate {
	if err == nil || errors.Is(err, goredis.Nil) {
		return fine
	}
	if reply, ok := errors.AsType[goredis.Error](err); ok {
		return replyFate(reply.Error())
	}
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial", errors.Is(err, goredis.ErrPoolTimeout), errors.Is(err, goredis.ErrPoolExhausted):
		return away
	case isTimeout(err):
		return silent
	}
	if _, ok := errors.AsType[errNoReplica](err); ok {
		return unproven
	}
	return unknown
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// replyFate sorts the error replies of Redis by their first word.
func replyFate(reply string) fate {
	word, _, _ := strings.Cut(strings.TrimPrefix(reply, "ERR "), " ")
	switch word {
	case "OOM", "MISCONF", "NOREPLICAS", "BUSY", "NOPERM":
		return refused
	case "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED", "NOAUTH", "WRONGPASS", "max":
		return away
	case "MOVED", "ASK", "TRYAGAIN", "NOSCRIPT":
		return moving
	}
	return broken
}

// unavailable wraps err for a call of which nothing was done.
func unavailable(err error) error {
	return fmt.Errorf("%w: %w", history.ErrUnavailable, err)
}

// failure is what a caller gets for a command that failed.
func failure(err error, f fate) error {
	switch f {
	case fine:
		return nil
	case unknown, unproven, silent:
		return fmt.Errorf("%w: %w", history.ErrUnknown, err)
	case broken:
		return fmt.Errorf("asking Redis: %w", err)
	}
	return unavailable(err)
}

// harmless makes the error of a call that is safe to repeat say that: it is
// unavailable, not unknown.
func harmless(err error) error {
	if errors.Is(err, history.ErrUnknown) {
		return unavailable(err)
	}
	return err
}
