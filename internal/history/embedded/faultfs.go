package embedded

import (
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// faultFS watches what Pebble writes and blows the fuse at the first failure.
// From then on it changes nothing on disk: not even what would succeed, since
// what is there is what Open can recover from. Writes to tables and manifests
// are refused, which Pebble bears. Writes to the log (and syncs of the
// directory, which are part of making one) seem to succeed and do nothing: the
// committer looks at the fuse after each commit, so that no caller is misled.
type faultFS struct {
	vfs.FS
	fault  *fault
	health io.Closer

	mu   sync.Mutex
	open map[*faultFile]struct{} // for writing
}

// slowDisk is how long one operation may take before the operator is told.
const slowDisk = 5 * time.Second

func newFaultFS(fs vfs.FS, f *fault, slow func(vfs.DiskSlowInfo)) *faultFS {
	fs, health := vfs.WithDiskHealthChecks(fs, slowDisk, nil, slow)
	return &faultFS{FS: fs, fault: f, health: health, open: map[*faultFile]struct{}{}}
}

// close closes the files that Pebble has not: it forgets some after an error.
func (f *faultFS) close() error {
	f.mu.Lock()
	left := f.open
	f.open = map[*faultFile]struct{}{}
	f.mu.Unlock()
	var err error
	for file := range left {
		err = errors.Join(err, file.File.Close())
	}
	return errors.Join(err, f.health.Close())
}

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

func (f *faultFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.openFile(name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *faultFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.openFile(name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f *faultFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.openFile(to, func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

func (f *faultFS) openFile(name string, open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	err := f.change("creating "+name, isLog(name), func() (err error) {
		file, err = f.fault.untilFiles(open)
		return err
	})
	if err != nil {
		return nil, err
	}
	if file == nil { // it could not be made: anything that takes bytes
		file, err = vfs.NewMem().Create("log", vfs.WriteCategoryUnspecified)
	}
	if err != nil {
		return nil, err
	}
	return f.watch(file, name, isLog(name)), nil
}

func (f *faultFS) watch(file vfs.File, name string, feign bool) vfs.File {
	w := &faultFile{File: file, name: name, fs: f, fault: f.fault, feign: feign}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open[w] = struct{}{}
	return w
}

func (f *faultFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return f.watch(file, name, true), nil
}

func (f *faultFS) Link(from, to string) error {
	return f.change("linking "+to, false, func() error { return f.FS.Link(from, to) })
}

func (f *faultFS) Rename(from, to string) error {
	return f.change("renaming "+to, false, func() error { return f.FS.Rename(from, to) })
}

// Remove is only ever asked to remove what is no longer needed, so that its
// failure harms nobody and leaves the fuse as it is.
func (f *faultFS) Remove(name string) error {
	if err := f.fault.err(); err != nil {
		if f.fault.opening.Load() {
			return nil
		}
		return err
	}
	return f.FS.Remove(name)
}

func (f *faultFS) RemoveAll(name string) error {
	if err := f.fault.err(); err != nil {
		if f.fault.opening.Load() {
			return nil
		}
		return err
	}
	return f.FS.RemoveAll(name)
}

// GetDiskUsage hides failures, which Pebble would report as if they were its
// own.
func (f *faultFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	u, err := f.FS.GetDiskUsage(path)
	if err != nil {
		return u, vfs.ErrUnsupported
	}
	return u, nil
}

// Unwrap lets Pebble find the file system below.
func (f *faultFS) Unwrap() vfs.FS { return f.FS }

func (f *faultFS) change(what string, feign bool, do func() error) error {
	return f.fault.change(what, feign, do)
}

// faultFile is a file or directory under [faultFS].
type faultFile struct {
	vfs.File
	name  string
	fs    *faultFS
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

// Close closes the file also when the fuse has blown.
func (f *faultFile) Close() error {
	f.fs.mu.Lock()
	delete(f.fs.open, f)
	f.fs.mu.Unlock()
	err := f.File.Close()
	if err == nil || (f.feign || f.fault.opening.Load()) && f.fault.isBlown() {
		return nil
	}
	return f.fault.change("closing "+f.name, f.feign, func() error { return err })
}
