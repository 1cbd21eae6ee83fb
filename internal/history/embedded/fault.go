package embedded

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pushd/internal/history"
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

// faultFS watches what Pebble writes and blows the fuse at the first failure.
// From then on it changes nothing on disk: not even what would succeed, since
// what is there is what Open can recover from. Writes to tables and manifests
// are refused, which Pebble bears. Writes to the log (and syncs of the
// directory, which are part of making one) seem to succeed and do nothing: the
// committer looks at the fuse after each commit, so that no caller is misled.
type faultFS struct {
	vfs.FS
	fault *fault
}

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

func (f faultFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f faultFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f faultFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(to, func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

func (f faultFS) open(name string, open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	err := f.change("creating "+name, isLog(name), func() (err error) {
		file, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	if file == nil { // a log that could not be made: anything that takes bytes
		file, err = vfs.NewMem().Create("log", vfs.WriteCategoryUnspecified)
	}
	return &faultFile{File: file, name: name, fault: f.fault, feign: isLog(name)}, err
}

func (f faultFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, name: name, fault: f.fault, feign: true}, nil
}

func (f faultFS) Link(from, to string) error {
	return f.change("linking "+to, false, func() error { return f.FS.Link(from, to) })
}

func (f faultFS) Rename(from, to string) error {
	return f.change("renaming "+to, false, func() error { return f.FS.Rename(from, to) })
}

// Remove is only ever asked to remove what is no longer needed, so that its
// failure harms nobody and leaves the fuse as it is.
func (f faultFS) Remove(name string) error {
	if err := f.fault.err(); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f faultFS) RemoveAll(name string) error {
	if err := f.fault.err(); err != nil {
		return err
	}
	return f.FS.RemoveAll(name)
}

// GetDiskUsage hides failures, which Pebble would report as if they were its
// own.
func (f faultFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	u, err := f.FS.GetDiskUsage(path)
	if err != nil {
		return u, vfs.ErrUnsupported
	}
	return u, nil
}

// Unwrap lets Pebble find the file system below.
func (f faultFS) Unwrap() vfs.FS { return f.FS }

func (f faultFS) change(what string, feign bool, do func() error) error {
	return f.fault.change(what, feign, do)
}

// change does one write while the fuse is whole and blows it if it fails. With
// feign its caller is told of success in any case.
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

// faultFile is a file or directory under [faultFS].
type faultFile struct {
	vfs.File
	name  string
	fault *fault
	feign bool // after the fuse has blown, writes seem to succeed
}

func (f *faultFile) Write(p []byte) (int, error) {
	return f.write(p, f.File.Write)
}

func (f *faultFile) WriteAt(p []byte, offset int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.File.WriteAt(p, offset) })
}

func (f *faultFile) write(p []byte, write func([]byte) (int, error)) (int, error) {
	err := f.fault.change("writing "+f.name, f.feign, func() error {
		n, err := write(p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *faultFile) Sync() error {
	return f.fault.change("syncing "+f.name, f.feign, f.File.Sync)
}

func (f *faultFile) SyncData() error {
	return f.fault.change("syncing "+f.name, f.feign, f.File.SyncData)
}

func (f *faultFile) SyncTo(length int64) (full bool, err error) {
	err = f.fault.change("syncing "+f.name, f.feign, func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Close lets go of the file also when the fuse has blown.
func (f *faultFile) Close() error {
	err := f.File.Close()
	if err == nil || f.feign && f.fault.isBlown() {
		return nil
	}
	return f.fault.change("closing "+f.name, f.feign, func() error { return err })
}
