package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/testkit"
)

// faulty is a disk that breaks when it is told.
type faulty struct {
	broken atomic.Bool
	err    error
	ops    []errorfs.OpKind
	file   string // part of the names that it breaks for
}

func (f *faulty) String() string { return f.err.Error() }

func (f *faulty) MaybeError(op errorfs.Op) error {
	if !f.broken.Load() || !strings.Contains(op.Path, f.file) {
		return nil
	}
	for _, kind := range f.ops {
		if op.Kind == kind {
			return f.err
		}
	}
	return nil
}

// shortFS writes only half of what it is given to logs, once it is broken.
type shortFS struct {
	vfs.FS
	broken *atomic.Bool
}

func (s shortFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return shortFile{File: f, broken: s.broken}, nil
}

type shortFile struct {
	vfs.File
	broken *atomic.Bool
}

func (s shortFile) Write(p []byte) (int, error) {
	if s.broken.Load() {
		p = p[:len(p)/2]
	}
	return s.File.Write(p)
}

// disaster is one way in which a disk fails.
type disaster struct {
	name  string
	fs    func() (fs vfs.FS, setBroken func(bool))
	cause string // part of the error
}

func injected(name string, err error, file string, ops ...errorfs.OpKind) disaster {
	return disaster{name: name, cause: err.Error(), fs: func() (vfs.FS, func(bool)) {
		f := &faulty{err: err, ops: ops, file: file}
		return errorfs.Wrap(vfs.Default, f), f.broken.Store
	}}
}

func disasters() []disaster {
	noSpace, io := syscall.ENOSPC, syscall.EIO
	syncs := []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}
	return []disaster{
		injected("log sync fails", io, ".log", syncs...),
		injected("log write has no space", noSpace, ".log", errorfs.OpFileWrite),
		injected("no descriptor for a log", syscall.EMFILE, ".log", errorfs.OpCreate, errorfs.OpReuseForWrite),
		injected("log cannot be made", noSpace, ".log", errorfs.OpCreate, errorfs.OpReuseForWrite),
		injected("table cannot be made", noSpace, ".sst", errorfs.OpCreate),
		injected("table write has no space", noSpace, ".sst", errorfs.OpFileWrite),
		injected("table sync fails", io, ".sst", syncs...),
		injected("manifest write has no space", noSpace, "MANIFEST", errorfs.OpFileWrite),
		injected("manifest sync fails", io, "MANIFEST", syncs...),
		injected("every write has no space", noSpace, "", errorfs.OpFileWrite, errorfs.OpCreate),
		injected("every sync fails", io, "", syncs...),
		{name: "log write is short", cause: "short write", fs: func() (vfs.FS, func(bool)) {
			var broken atomic.Bool
			return shortFS{FS: vfs.Default, broken: &broken}, broken.Store
		}},
	}
}

func TestDisasters(t *testing.T) {
	for _, sync := range []embedded.Sync{embedded.SyncAlways, embedded.SyncInterval} {
		for _, d := range disasters() {
			t.Run(fmt.Sprintf("%v/%s", sync, d.name), func(t *testing.T) {
				t.Parallel()
				survive(t, t.TempDir(), sync, d, restart)
			})
		}
	}
}

// TestHeals checks that the store takes appends again, without a restart, when the
// disk does.
func TestHeals(t *testing.T) {
	for _, d := range disasters() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			survive(t, t.TempDir(), embedded.SyncAlways, d, heal)
		})
	}
}

// TestNoFiles has no descriptor left for a new log: appends wait for one, and those
// that it comes for succeed. TestHeals has the case that it takes long.
func TestNoFiles(t *testing.T) {
	d := injected("", syscall.EMFILE, ".log", errorfs.OpCreate, errorfs.OpReuseForWrite)
	fs, setBroken := d.fs()
	s := mustOpen(t, embedded.Config{Dir: t.TempDir(), Retention: everything, FS: fs})
	setBroken(true)
	time.AfterFunc(time.Second, func() { setBroken(false) })
	for n := range 3000 { // more than a memtable, and so a log
		if _, err := appendOne(s, n); err != nil {
			t.Fatalf("append %d: %v", n, err)
		}
	}
}

// TestDirectoryVanishes moves the data directory away and back.
func TestDirectoryVanishes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := mustOpen(t, embedded.Config{Dir: dir, Retention: everything})
	stored := appendSome(t, s, 50)
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	testkit.WaitForSuccess(t, "the store to notice", func() error {
		if err := s.Ready(); !errors.Is(err, history.ErrReadOnly) {
			return fmt.Errorf("ready: %v", err)
		}
		return nil
	})
	if _, err := appendOne(s, 0); !errors.Is(err, history.ErrReadOnly) {
		t.Errorf("append: %v, want ErrReadOnly", err)
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	waitUntilHealed(t, s)
	checkHas(t, s, append(stored, appendSome(t, s, 5)...))
}

func waitUntilHealed(t *testing.T, s history.Store) {
	t.Helper()
	testkit.WaitForSuccess(t, "the store to take appends again", s.Ready)
}

// TestOpenOnFullDisk opens a store on a disk that became full: its history can be
// read, and when there is room it takes appends.
func TestOpenOnFullDisk(t *testing.T) {
	for _, d := range disasters() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			fs, setBroken := d.fs()
			dir := t.TempDir()
			s, err := embedded.Open(embedded.Config{Dir: dir, Retention: everything})
			if err != nil {
				t.Fatal(err)
			}
			stored := appendSome(t, s, 50)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			setBroken(true)
			s = mustOpen(t, embedded.Config{Dir: dir, Retention: everything, FS: fs})
			checkHas(t, s, stored)
			if _, err := appendOne(s, 0); err != nil && !errors.Is(err, history.ErrReadOnly) {
				t.Errorf("append: %v, want ErrReadOnly", err)
			}
			setBroken(false)
			waitUntilHealed(t, s)
			checkHas(t, s, append(stored, appendSome(t, s, 5)...))
		})
	}
}

// TestFullDisk is the real thing, on systems where the test may mount one.
// Elsewhere the rows of TestDisasters that have no space stand for it.
func TestFullDisk(t *testing.T) {
	for _, mend := range []mending{restart, heal} {
		for _, dir := range smallDisks(t) {
			survive(t, dir, embedded.SyncAlways, disaster{
				cause: syscall.ENOSPC.Error(),
				fs:    func() (vfs.FS, func(bool)) { return vfs.Default, func(bool) {} },
			}, mend)
		}
	}
}

// smallDisks mounts an almost full disk, if it may.
func smallDisks(t *testing.T) []string {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Logf("no disk can be mounted here: %v", err)
		return nil
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return []string{dir}
}

// mending is how a store takes appends again after a fault.
type mending bool

const (
	restart mending = false
	heal    mending = true
)

// survive appends until the disk has failed, and checks what is promised then.
func survive(t *testing.T, dir string, sync embedded.Sync, d disaster, mend mending) {
	fs, setBroken := d.fs()
	c := embedded.Config{Dir: dir, Retention: everything, Sync: sync, FS: fs}
	s, err := embedded.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	stored := appendSome(t, s, 50)
	setBroken(true)
	more, failure := appendUntilFailure(t, s)
	if !errors.Is(failure, history.ErrReadOnly) || !strings.Contains(failure.Error(), d.cause) {
		t.Errorf("append failed with %v, want ErrReadOnly because of %q", failure, d.cause)
	}
	checkReadOnly(t, s, d)
	if sync == embedded.SyncAlways {
		stored = append(stored, more...) // of the others, those before the fault were synced
	}
	checkHas(t, s, stored)
	if mend == heal {
		repair(t, dir, setBroken)
		waitUntilHealed(t, s)
		checkHas(t, s, stored)
		stored = append(stored, appendSome(t, s, 5)...)
		if err := closeInTime(t, s); err != nil {
			t.Errorf("closing: %v", err)
		}
	} else {
		if err := closeInTime(t, s); !errors.Is(err, history.ErrReadOnly) {
			t.Errorf("closing returned %v, want ErrReadOnly", err)
		}
		repair(t, dir, setBroken)
	}
	c.FS = vfs.Default
	s, err = embedded.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	checkHas(t, s, stored)
	checkHas(t, s, appendSome(t, s, 5))
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// repair mends the disk, or clears it up if it was really full.
func repair(t *testing.T, dir string, setBroken func(bool)) {
	t.Helper()
	setBroken(false)
	if err := makeRoom(dir); err != nil {
		t.Fatal(err)
	}
}

func makeRoom(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err
	}
	if st.Type != unix.TMPFS_MAGIC {
		return nil
	}
	return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=128m")
}

const victim = "victim"

var big = bytes.Repeat([]byte("0123456789abcdef"), 256)

func appendOne(s history.Store, n int) (history.ID, error) {
	r, err := s.Append(context.Background(), history.Push{
		Kind: history.Unicast, Users: []string{victim}, Data: fmt.Appendf(nil, "%d %s", n, big),
	})
	return r.ID, err
}

func appendSome(t *testing.T, s *embedded.Store, n int) []history.ID {
	t.Helper()
	var ids []history.ID
	for i := range n {
		id, err := appendOne(s, i)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := embedded.SyncNow(s); err != nil {
		t.Fatal(err)
	}
	return ids
}

// appendUntilFailure appends from several goroutines until all have failed.
func appendUntilFailure(t *testing.T, s history.Store) (ids []history.ID, failure error) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	deadline := time.Now().Add(30 * time.Second)
	for range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				id, err := appendOne(s, n)
				mu.Lock()
				if err != nil {
					failure = err
				} else {
					ids = append(ids, id)
				}
				mu.Unlock()
				if err != nil {
					return
				}
				if time.Now().After(deadline) {
					t.Error("the disk failed and nobody noticed")
					return
				}
			}
		})
	}
	wg.Wait()
	return ids, failure
}

func checkReadOnly(t *testing.T, s history.Store, d disaster) {
	t.Helper()
	if err := s.Ready(); !errors.Is(err, history.ErrReadOnly) || !strings.Contains(err.Error(), d.cause) {
		t.Errorf("Ready says %v, want ErrReadOnly because of %q", err, d.cause)
	}
	if _, err := s.Ack(t.Context(), victim, history.Cursor{Inbox: 1}, ""); !errors.Is(err, history.ErrReadOnly) {
		t.Errorf("acked with %v, want ErrReadOnly", err)
	}
	if err := s.(history.Messages).RecordDelivered(t.Context(), deliveries(victim, 0, 1)); !errors.Is(err, history.ErrReadOnly) {
		t.Errorf("recorded with %v, want ErrReadOnly", err)
	}
	a, err := s.Attach(t.Context(), victim, history.Start{At: history.StartUnread, Limit: 10})
	if err != nil || len(a.Page.Messages) != 10 || a.Page.Unread < 50 {
		t.Errorf("attached with %d messages, %d unread, %v", len(a.Page.Messages), a.Page.Unread, err)
	}
	s.Detach(victim)
}

// checkHas checks that victim's history has these ids.
func checkHas(t *testing.T, s history.Store, ids []history.ID) {
	t.Helper()
	found := map[history.ID]bool{}
	for q := (history.Query{Direction: history.Forward, Limit: 1000}); ; {
		p, err := s.Page(t.Context(), victim, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Messages {
			if found[m.ID] || !bytes.HasSuffix(m.Data, big) {
				t.Fatalf("message %d is there twice or damaged", m.ID)
			}
			found[m.ID] = true
		}
		if q.After = p.Cursor; !p.HasMore {
			break
		}
	}
	for _, id := range ids {
		if !found[id] {
			t.Errorf("message %d of %d acknowledged is missing", id, len(ids))
			return
		}
	}
}

func closeInTime(t *testing.T, s history.Store) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("Close hangs")
		return nil
	}
}

func TestOpenFails(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct {
		name, want string
		conf       embedded.Config
	}{
		{"no directory", "no data directory", embedded.Config{}},
		{"a file", file + ": it is not a directory", embedded.Config{Dir: file}},
		{"below a file", file + "/data: making the directory", embedded.Config{Dir: file + "/data"}},
		{"cannot be made", "making the directory", embedded.Config{Dir: "/proc/pushd/data"}},
		{"not writable", "writing to the directory", embedded.Config{Dir: "/proc/self"}},
		{"retention", "negative retention", embedded.Config{Dir: t.TempDir(), Retention: history.Retention{InboxCount: -1}}},
		{"sync", "unknown sync", embedded.Config{Dir: t.TempDir(), Sync: 9}},
		{"interval", "negative sync interval", embedded.Config{Dir: t.TempDir(), SyncInterval: -1}},
	} {
		t.Run(d.name, func(t *testing.T) {
			s, err := embedded.Open(d.conf)
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if !strings.Contains(err.Error(), d.want) {
				t.Errorf("%v, want %q", err, d.want)
			}
			if errors.Is(err, history.ErrLocked) {
				t.Errorf("%v says that it is locked", err)
			}
		})
	}
}

// TestOpenOnBrokenDisk opens on a disk on which nothing can be written.
func TestOpenOnBrokenDisk(t *testing.T) {
	for _, d := range disasters() {
		if !strings.HasPrefix(d.name, "every") {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			fs, setBroken := d.fs()
			setBroken(true)
			s, err := embedded.Open(embedded.Config{Dir: t.TempDir(), FS: fs})
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if !strings.Contains(err.Error(), d.cause) {
				t.Errorf("%v, want %q", err, d.cause)
			}
		})
	}
}
