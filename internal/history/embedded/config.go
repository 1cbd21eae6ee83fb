package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// Sync says when what was appended is forced to disk.
type Sync uint8

const (
	// SyncAlways syncs before an append returns: what was acknowledged outlives
	// a power cut.
	SyncAlways Sync = iota
	// SyncInterval syncs every Config.SyncInterval: a power cut loses at most
	// what was appended since. A crash of the process alone loses at most a few
	// milliseconds: the rest is with the kernel.
	SyncInterval
	// SyncNever leaves the time to the kernel.
	SyncNever
)

// ParseSync reads "always", "interval" or "never".
func ParseSync(s string) (Sync, error) {
	for i, word := range syncWords {
		if s == word {
			return Sync(i), nil
		}
	}
	return 0, fmt.Errorf("sync is always, interval or never, not %q", s)
}

var syncWords = [...]string{"always", "interval", "never"}

// String returns the word that ParseSync reads.
func (s Sync) String() string {
	if int(s) < len(syncWords) {
		return syncWords[s]
	}
	return fmt.Sprintf("sync(%d)", uint8(s))
}

// Config is what Open needs; the zero value of every field but Dir works.
type Config struct {
	// Dir is the data directory. It is made if it does not exist.
	Dir string
	// Retention says how long things are kept.
	Retention history.Retention
	// Sync says when appends are forced to disk. Default SyncAlways.
	Sync Sync
	// SyncInterval is the time between syncs under Sync SyncInterval. Default
	// 100 ms.
	SyncInterval time.Duration
	// CacheBytes is the size of the block cache. Default 16 MiB. Memtables take up
	// to 32 MiB more while there is much to write.
	CacheBytes int64
	// Events is how many events are kept, in memory. Default watch.EventsKept.
	Events int
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// FS is the file system. Default the operating system's.
	FS vfs.FS
	// Log takes what an operator should know; nil discards it.
	Log *slog.Logger
	// Metrics takes pushd_history_* metrics; nil means none.
	Metrics prometheus.Registerer
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("no data directory given")
	}
	if int(c.Sync) >= len(syncWords) {
		return c, fmt.Errorf("unknown %v", c.Sync)
	}
	if c.SyncInterval < 0 || c.CacheBytes < 0 || c.Events < 0 {
		return c, fmt.Errorf("negative sync interval %v, cache of %d bytes or number of events %d", c.SyncInterval, c.CacheBytes, c.Events)
	}
	if err := c.Retention.Check(); err != nil {
		return c, err
	}
	c.Retention = c.Retention.WithDefaults()
	if c.SyncInterval == 0 {
		c.SyncInterval = 100 * time.Millisecond
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 16 << 20
	}
	if c.Events == 0 {
		c.Events = watch.EventsKept
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// options tunes Pebble for a process whose memory belongs to connections: the
// pure Go build keeps cache and memtables on the Go heap.
func options(c Config, f *fault) *pebble.Options {
	o := &pebble.Options{
		Logger:             pebbleLog{log: c.Log, fault: f},
		EventListener:      listener(c.Log, f),
		FormatMajorVersion: pebble.FormatNewest,
		CacheSize:          c.CacheBytes + 2*memTableSize, // takes the memtables from it
		MemTableSize:       memTableSize,
		// The committer waits by itself while these many memtables or levels
		// are unflushed (see waitForRoom). Pebble's own stall, which nothing wakes
		// when a flush fails for good, is never reached.
		MemTableStopWritesThreshold: 4 * maxMemTables,
		L0StopWritesThreshold:       4 * maxLevel0,
		// Sockets need the file descriptors more.
		MaxOpenFiles: 500,
		// A delayed flush would write a log from a goroutine of Pebble's.
		FlushDelayDeleteRange: 0,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

const (
	memTableSize = 8 << 20
	maxMemTables = 4
	maxLevel0    = 12
)
