package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pushd.example/internal/history"
)

// fault is a fuse: the first write that fails blows it, and from then on
// nothing in the data directory is changed any more until it is opened again,
// with another fault, by the healer (see heal.go) or the next process.
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

	// opening is set until the database is open: until then all writes after a
	// fault seem to succeed and do nothing. pebble.Open repeats a flush that fails
	// without end, and this way it ends, for its caller to see the fuse.
	opening atomic.Bool

	once, releasing sync.Once
	cause           error // set once, before blown is closed
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

// blowQuietly is blow for a cause that was logged before.
func (f *fault) blowQuietly(cause error) {
	f.once.Do(func() {
		f.cause = cause
		close(f.blown)
	})
}

// release ends all pauses: the database closes.
func (f *fault) release() { f.releasing.Do(func() { close(f.released) }) }

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
// feign is set or the database is being opened, it returns nil in any case.
func (f *fault) change(what string, feign bool, do func() error) error {
	feign = feign || f.opening.Load()
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

// filesWait is how long a file that cannot be made for want of a descriptor is
// waited for.
const filesWait = 5 * time.Second

// untilFiles calls open again for as long as the process or the machine has no file
// descriptor left: nothing was written, so that nothing is lost but time.
func (f *fault) untilFiles(open func() (vfs.File, error)) (vfs.File, error) {
	deadline := time.Now().Add(filesWait)
	for {
		file, err := open()
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) || !time.Now().Before(deadline) {
			return file, err
		}
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-f.blown:
			pause.Stop()
			return nil, err
		case <-pause.C:
		}
	}
}
