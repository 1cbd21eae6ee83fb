package embedded

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pushd.example/internal/history"
)

// A store that has become read-only takes appends again without a restart. The
// healer, a goroutine of Open's, does what a restart would do: once the disk takes
// a test file, it waits until no call runs, and has the committer close the
// database and open it again. What the log holds is replayed, written to new
// tables and synced, also what lay only in the kernel's memory after a sync that
// failed. If opening fails, the database is opened for reading, and the healer
// tries again later, as it does after Open on a full disk.
//
// Two faults last until the next start: a panic inside Pebble, which leaves its
// locks held, and a data directory that has been removed. If the directory comes
// back, the store takes appends again.

const (
	// healPause is between two looks at the directory, and before the first attempt
	// to open again. Each attempt that fails, and each fault within healLasts of a
	// successful one, doubles the pause before the next, up to healPauseMost.
	healPause     = time.Second
	healPauseMost = 30 * time.Second
	healLasts     = time.Minute

	// probeBytes is the size of the test file.
	probeBytes = 1 << 20
	probeFile  = "probe"
)

// heal runs until the store closes.
func (s *Store) heal() {
	tick := time.NewTicker(healPause)
	defer tick.Stop()
	pause, next, healed := healPause, time.Time{}, time.Time{}
	for {
		select {
		case <-s.ending:
			return
		case <-tick.C:
		}
		f, now := s.fault.Load(), time.Now()
		switch {
		case !f.isBlown():
			if err := s.checkDir(); err != nil {
				f.blow(err)
			}
			next = time.Time{}
			if now.Sub(healed) > healLasts {
				pause = healPause
			}
		case next.IsZero():
			next = now.Add(pause - healPause)
		case now.Before(next):
		default:
			pause = min(2*pause, healPauseMost)
			next = now.Add(pause)
			if s.reopen() {
				healed = now
			}
		}
	}
}

// reopen closes and opens the database, if the disk takes a test file. It returns
// whether appends are possible again.
func (s *Store) reopen() bool {
	if err := s.probe(); err != nil {
		return false
	}
	s.life.Lock()
	done := make(chan error)
	s.reopening <- done
	err := <-done
	s.life.Unlock()
	if err != nil {
		s.conf.Log.Warn("history stays read-only", "error", err)
		return false
	}
	s.metrics.reopened()
	s.conf.Log.Info("history takes appends again")
	return true
}

// probe writes, syncs and removes a test file.
func (s *Store) probe() error {
	if err := s.checkDir(); err != nil {
		return err
	}
	name := s.conf.FS.PathJoin(s.conf.Dir, probeFile)
	f, err := s.conf.FS.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), s.conf.FS.Remove(name))
}

// lockFile is the file by which a process takes the directory: Pebble's name.
func lockFile(c Config) string { return c.FS.PathJoin(c.Dir, "LOCK") }

// checkDir returns an error unless the directory is the one that Open found. If it
// was removed, writes to its open files would still succeed.
func (s *Store) checkDir() error {
	info, err := s.conf.FS.Stat(lockFile(s.conf))
	if err != nil {
		return fmt.Errorf("looking for the data directory: %w", err)
	}
	// Only the operating system's files can be told apart.
	if os.SameFile(s.born, s.born) && !os.SameFile(s.born, info) {
		return fmt.Errorf("the data directory %s is another one than at the start", s.conf.Dir)
	}
	return nil
}

// reopen does it. The healer holds life: no call runs.
func (c *committer) reopen() error {
	if c.panicked {
		return errors.New("it failed inside the database: restart pushd")
	}
	given, stored := c.heads.last, c.stored
	cause := c.fault.Load().cause
	if err := c.closeDB(); err != nil {
		c.conf.Log.Debug("closing the history after a fault", "error", err)
	}
	if err := c.openData(); err != nil {
		f := c.fault.Load()
		f.blowQuietly(errors.Join(err, cause)) // opening may fail without a write
		return errors.Join(err, c.closeDB())
	}
	if c.heads.last < stored {
		c.conf.Log.Error("history has lost its last messages", "last_id", stored, "found_id", c.heads.last)
	}
	c.dueFrom = 0
	// No id is given twice, also none that was given and not stored.
	c.stored, c.heads.last = max(c.stored, stored), max(c.heads.last, given)
	c.mu.Lock()
	c.visible.last = c.heads.last
	c.mu.Unlock()
	return c.fault.Load().err()
}

// resync tells the follower that what was stored before the fault may not have been
// delivered: a group whose write failed may be found stored.
func (c *committer) resync() {
	c.delivering.Lock()
	defer c.delivering.Unlock()
	c.mu.RLock()
	deliver := c.deliver
	c.mu.RUnlock()
	if deliver != nil {
		deliver([]history.Delivery{{Resync: true}})
	}
}
