package embedded

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"pushd.example/internal/history"
)

// fault is a fuse: the first write that fails blows it, and from then on
// nothing in the data directory is changed any more until it is opened again.
//
// Pebble needs this. It expects its caller to exit on a failed write, and does
// these things when the caller does not (v2.1.7): Apply returns nil after a
// commit that failed once Logger.Fatalf has returned (DB.applyInternal); an
// error of the log panics with the commit pipeline's lock held, so that Close
// hangs (DB.commitWrite), or with DB.mu unlocked below a deferred unlock,
// which ends the process (DB.rotateWAL); a flush that failed is started again
// at once, for ever (DB.flush). So the failure is caught below Pebble, in
// [faultFS], and Pebble is told of it only where it can bear it.
type fault struct {
	log *slog.Logger
	// blown is closed when the fuse blows, released when the store closes.
	blown, released chan struct{}

	once  sync.Once
	cause error // set once, before blown is closed
}

func newFault(log *slog.Logger) *fault {
	return &fault{log: log, blown: make(chan struct{}), released: make(chan struct{})}
}

// blow blows the fuse unless it has blown, and returns err.
func (f *fault) blow(err error) error {
	f.once.Do(func() {
		f.cause = err
		close(f.blown)
		f.log.Error("history becomes read-only: a write failed", "error", err)
	})
	return err
}

func (f *fault) isBlown() bool {
	select {
	case <-f.blown:
		return true
	default:
		return false
	}
}

// err returns nil, or an error wrapping [history.ErrReadOnly] and the cause.
func (f *fault) err() error {
	if !f.isBlown() {
		return nil
	}
	return fmt.Errorf("%w: %w", history.ErrReadOnly, f.cause)
}

// refuse is what a write gets after the fuse has blown. It takes its time, so
// that Pebble's attempts to flush come once a second instead of without pause.
func (f *fault) refuse() error {
	pause := time.NewTimer(time.Second)
	defer pause.Stop()
	select {
	case <-f.released:
	case <-pause.C:
	}
	return f.err()
}

// change does one write while the fuse is whole and blows it if the write fails. If
// feign is set, it returns nil in any case.
func (f *fault) change(what string, feign bool, do func() error) error {
	if f.isBlown() {
		if feign {
			return nil
		}
		return f.refuse()
	}
	err := do()
	if err == nil {
		return nil
	}
	f.blow(fmt.Errorf("%s: %w", what, err))
	if feign {
		return nil
	}
	return err
}
