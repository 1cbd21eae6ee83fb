package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pushd.example/internal/history"
	"pushd.example/internal/history/eventlog"
	"pushd.example/internal/history/watch"
)

// Store is a history.Store, history.Groups, history.Messages and watch.Events in
// one directory of one machine.
type Store struct {
	// Set once.
	conf    Config
	lock    *pebble.Lock
	born    fs.FileInfo // of the lock's file, when it was made
	metrics *metrics
	events  *eventlog.Log
	queue   chan *request
	// Locks with room for one token: its owner changes groups, or records
	// deliveries. They are channels, so that waiting can end with a context.
	grouping, recording chan struct{}
	ending              chan struct{} // closed by Close at its start: the healer ends
	closing             chan struct{} // closed by Close, after the last call: the committer ends
	stopped             chan struct{} // closed by the committer when it has ended
	healer, helpers     sync.WaitGroup
	reopening           chan chan<- error // the healer asks the committer to reopen

	// The committer sets these while the healer holds life for writing. db is nil
	// if not even reading is possible; fault says why then. fault alone may be
	// loaded without holding life.
	db    *pebble.DB
	files *faultFS
	fault atomic.Pointer[fault]

	// dirty: something was committed since the last sync.
	dirty  atomic.Bool
	closed atomic.Bool
	// recalled and tally are written by the committer.
	recalled atomic.Pointer[recalled]
	tally    tally

	// dueFrom: no line of the schedule is due before, as long as heads.setBack is
	// sweptBack. Both belong to the running sweep.
	dueFrom   millis
	sweptBack uint32
	// trusted is the clock by which ages delete, in milliseconds since
	// [history.Epoch]: see committer.readClock.
	trusted atomic.Uint64

	// life is held for reading by each running call: Close and the healer wait for
	// them.
	life sync.RWMutex

	// mu makes becoming visible one step. Its holder sees heads and presence of
	// one moment: no append lies between them.
	mu       sync.RWMutex
	visible  heads
	presence presence
	deliver  func([]history.Delivery) // nil: nobody follows

	// delivering is held while deliver runs. Taken before mu.
	delivering sync.Mutex

	// commit is touched by Open, and then only by the committer.
	commit committer
}

var (
	_ history.Store    = (*Store)(nil)
	_ history.Groups   = (*Store)(nil)
	_ watch.Events     = (*Store)(nil)
	_ history.Messages = (*Store)(nil)
)

// heads is how far everything is that was made visible.
type heads struct {
	last       history.ID // the last id given
	broadcasts broadcastLog
	// at is the clock of the last group, setBack how often it was before that of the
	// group before.
	at      millis
	setBack uint32
}

// Open opens the data directory c.Dir. Errors: history.ErrLocked if another
// process has it open; others say what is wrong with c or the directory.
func Open(c Config) (*Store, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("opening history: %w", err)
	}
	s, err := open(c)
	if err != nil {
		return nil, fmt.Errorf("opening history in %s: %w", c.Dir, err)
	}
	return s, nil
}

func open(c Config) (_ *Store, err error) {
	s := &Store{
		conf:      c,
		queue:     make(chan *request, queueSize),
		grouping:  make(chan struct{}, 1),
		recording: make(chan struct{}, 1),
		ending:    make(chan struct{}),
		closing:   make(chan struct{}),
		reopening: make(chan chan<- error),
		stopped:   make(chan struct{}),
		presence:  newPresence(),
		events:    eventlog.New(c.Now, c.Events),
	}
	if s.lock, err = lockDir(c); err != nil {
		return nil, err
	}
	if s.born, err = c.FS.Stat(lockFile(c)); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	s.commit.Store = s
	if err = s.openData(); err == nil {
		s.metrics, err = newMetrics(c.Metrics, s)
	}
	if err != nil {
		return nil, errors.Join(err, s.closeDB(), s.lock.Close())
	}
	go s.commit.run()
	s.healer.Go(s.heal)
	s.healer.Go(s.trimAged)
	if c.Sync == SyncInterval {
		s.helpers.Go(s.syncEvery)
	}
	return s, nil
}

// lockDir makes the directory if need be and takes it for this process.
func lockDir(c Config) (*pebble.Lock, error) {
	if info, err := c.FS.Stat(c.Dir); err == nil && !info.IsDir() {
		return nil, errors.New("it is not a directory")
	}
	if err := c.FS.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory: %w", err)
	}
	dir, err := filepath.Abs(c.Dir) // one name per directory for the table of this process' locks
	if err != nil {
		return nil, err
	}
	if c.FS != vfs.Default {
		dir = c.Dir
	}
	lock, err := pebble.LockDirectory(dir, c.FS)
	if err == nil {
		return lock, nil
	}
	// A file that cannot be made gives a PathError; a lock that another process
	// holds gives a bare errno; one that this process holds, neither.
	var path *fs.PathError
	if errors.As(err, &path) {
		return nil, fmt.Errorf("writing to the directory: %w", err)
	}
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != syscall.EAGAIN && errno != syscall.EACCES {
		return nil, fmt.Errorf("locking the directory: %w", err)
	}
	return nil, fmt.Errorf("%w (%w)", history.ErrLocked, err)
}

// openData opens the database and loads it. If it cannot be written to, it is
// opened for reading, with the fault that says why.
func (s *Store) openData() error {
	f := newFault(s.conf.Log)
	err := s.openDB(f, false)
	if err == nil || !f.isBlown() {
		return err
	}
	err = errors.Join(err, s.closeDB())
	readable := newFault(s.conf.Log)
	readable.blowQuietly(f.cause)
	if s.openDB(readable, true) != nil {
		return err
	}
	return nil
}

// openDB opens the database under f and loads it.
func (s *Store) openDB(f *fault, readOnly bool) error {
	f.opening.Store(!readOnly)
	s.fault.Store(f)
	s.files = newFaultFS(s.conf.FS, f, slowDiskLog(s.conf.Log))
	o := options(s.conf, f)
	o.FS, o.Lock, o.ReadOnly = s.files, s.lock, readOnly
	db, err := pebble.Open(s.conf.Dir, o)
	if err != nil {
		return err
	}
	s.db = db
	if !readOnly && f.isBlown() {
		return f.cause
	}
	f.opening.Store(false)
	if err := s.load(); err != nil {
		return err
	}
	if !readOnly && f.isBlown() {
		return f.cause
	}
	return nil
}

// formatVersion is the format of the keys and values that this package writes.
const formatVersion = 1

// load reads what the committer goes on from. After a crash at any moment it
// finds exactly what was committed: a batch is in the log as a whole or not at
// all, and everything below comes from one batch each.
func (s *Store) load() error {
	if err := s.checkFormat(); err != nil {
		return err
	}
	s.commit.reset()
	if err := s.commit.load(); err != nil {
		return err
	}
	s.mu.Lock()
	s.visible = s.commit.heads
	s.mu.Unlock()
	if s.fault.Load().isBlown() {
		return nil // opened for reading
	}
	s.commit.readClock()
	return s.commit.maintain()
}

func (s *Store) checkFormat() error {
	value, closer, err := s.db.Get([]byte{tagFormat})
	if errors.Is(err, pebble.ErrNotFound) {
		return s.db.Set([]byte{tagFormat}, binary.AppendUvarint(nil, formatVersion), pebble.Sync)
	}
	if err != nil {
		return fmt.Errorf("reading its format: %w", err)
	}
	defer closer.Close()
	if v, n := binary.Uvarint(value); n <= 0 || v != formatVersion {
		return fmt.Errorf("it has format %d, this program reads format %d", v, formatVersion)
	}
	return nil
}

// Ready implements history.Store.
func (s *Store) Ready() error {
	if s.closed.Load() {
		return history.ErrClosed
	}
	return s.fault.Load().err()
}

// Close implements history.Store. On a store that has become read-only it
// returns why: what was appended last may not be on disk.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.metrics.unregister()
	s.events.Close()
	close(s.ending)
	s.healer.Wait()
	s.life.Lock() // no call runs any more, nor will
	defer s.life.Unlock()
	close(s.closing)
	<-s.stopped
	s.helpers.Wait()
	if err := errors.Join(s.closeDB(), s.lock.Close(), s.fault.Load().err()); err != nil {
		return fmt.Errorf("closing history in %s: %w", s.conf.Dir, err)
	}
	return nil
}

// closeDB closes what of the database is open, syncing the log. The directory
// stays locked.
func (s *Store) closeDB() error {
	s.fault.Load().release()
	var err error
	// After a panic inside Pebble its locks are as they are: Close may hang.
	if s.db != nil && !s.commit.panicked {
		err = s.db.Close()
	}
	if s.files != nil {
		err = errors.Join(err, s.files.close())
	}
	s.db, s.files = nil, nil
	return err
}

// enter begins a call; unless there was an error the caller ends it with
// s.life.RUnlock.
func (s *Store) enter(ctx context.Context) error {
	if s.closed.Load() {
		return history.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.life.RLock()
	if err := s.usable(); err != nil {
		s.life.RUnlock()
		return err
	}
	return nil
}

// usable says why no call can run; its caller holds life.
func (s *Store) usable() error {
	if s.closed.Load() {
		return history.ErrClosed
	}
	if s.db == nil {
		return fmt.Errorf("%w: %w", history.ErrUnavailable, s.fault.Load().cause)
	}
	return nil
}

// enterFor is enter for a call about user.
func (s *Store) enterFor(ctx context.Context, user string) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if err := history.CheckUser(user); err != nil {
		s.life.RUnlock()
		return err
	}
	return nil
}

// syncEvery forces the log to disk at intervals.
func (s *Store) syncEvery() {
	tick := time.NewTicker(s.conf.SyncInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-tick.C:
			// Close and the healer, who close the database, sync it themselves.
			if s.life.TryRLock() {
				s.syncNow()
				s.life.RUnlock()
			}
		}
	}
}

func (s *Store) syncNow() {
	f := s.fault.Load()
	if s.dirty.Swap(false) && !f.isBlown() {
		// An empty record that waits for a sync of all before it.
		if err := s.db.LogData(nil, pebble.Sync); err != nil {
			f.blow(fmt.Errorf("syncing the log: %w", err))
		}
	}
}
