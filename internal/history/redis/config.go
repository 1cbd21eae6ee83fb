package redis

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// Config is what Open needs. URL and Node must be set; of the rest the zero
// value takes the default.
type Config struct {
	// URL says where Redis is, as [ParseURL] reads it.
	URL string
	// Node names this process in the log; it need not differ from others.
	Node string
	// Prefix begins the name of every key, so that several systems can use one
	// Redis. At most 32 letters, digits, '-', '_', '.' and ':'. Default
	// "pushd:".
	Prefix string
	// Partitions is how many parts the data have, each in one slot of a
	// Cluster. It is fixed when the data are first written: Open refuses
	// another number. 1 to 64. Default 1, in a Cluster 16.
	Partitions int
	// Retention says how long things are kept.
	Retention history.Retention
	// Durability is that of pushes which ask for none. Default history.Memory.
	Durability history.Durability
	// Timeout bounds one exchange with Redis; when it has passed, Redis counts
	// as down. Default 3 s.
	Timeout time.Duration
	// Lease is how long other nodes take this one to be alive after its last beat.
	// There are six beats in a lease. Default 6 s.
	Lease time.Duration
	// Backlog is about how many messages of a partition wait for a node that does
	// not read them before the oldest are dropped. Then its connections read them
	// from history. Default 10,000.
	Backlog int
	// Events is about how many events are kept. Default watch.EventsKept.
	Events int
	// Now is a clock for tests: of ids, TTLs, ages and keys. Default: Redis's.
	Now func() time.Time
	// Log gets what an operator should know; nil discards it.
	Log *slog.Logger
	// Metrics registers the pushd_history_* metrics; nil means none.
	Metrics prometheus.Registerer
}

const (
	maxPartitions     = 64
	clusterPartitions = 16
	maxPrefix         = 32
	maxCount          = 1 << 32 // more entries than a list or stream holds
)

func (c Config) withDefaults(t Target) (Config, error) {
	if err := c.Retention.Check(); err != nil {
		return c, err
	}
	c.Retention = c.Retention.WithDefaults()
	c.Retention.InboxCount = min(c.Retention.InboxCount, maxCount)
	c.Retention.BroadcastCount = min(c.Retention.BroadcastCount, maxCount)
	or(&c.Prefix, "pushd:")
	or(&c.Timeout, 3*time.Second)
	or(&c.Lease, 6*time.Second)
	or(&c.Backlog, 10_000)
	or(&c.Events, watch.EventsKept)
	or(&c.Durability, history.Memory)
	if c.Partitions == 0 {
		c.Partitions = 1
		if t.kind == cluster {
			c.Partitions = clusterPartitions
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Node == "":
		return c, errors.New("the node has no name")
	case c.Partitions < 1 || c.Partitions > maxPartitions:
		return c, fmt.Errorf("%d partitions, want 1 to %d", c.Partitions, maxPartitions)
	case !goodPrefix(c.Prefix):
		return c, fmt.Errorf("prefix %q: want at most %d letters, digits, '-', '_', '.' and ':'", c.Prefix, maxPrefix)
	case c.Timeout < 0 || c.Lease < 0 || c.Backlog < 0 || c.Events < 0:
		return c, errors.New("negative Timeout, Lease, Backlog or Events")
	case c.Durability > history.Replicated:
		return c, fmt.Errorf("unknown durability %d", c.Durability)
	}
	return c, nil
}

// goodPrefix says whether s may begin the names of keys. Above all it has no braces,
// which choose a key's slot.
func goodPrefix(s string) bool {
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '-' && r != '_' && r != '.' && r != ':' {
			return false
		}
	}
	return len(s) <= maxPrefix
}

// or sets *v to def if it is zero.
func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
