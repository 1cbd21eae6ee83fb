package historytest

import (
	"sync"
	"testing"
	"time"

	"pushd.example/internal/history"
)

// Options are what a test asks of the engine that it opens.
type Options struct {
	// Retention goes to the engine as it is; zero fields mean the defaults.
	Retention history.Retention
	// Events is about how many events the engine keeps, give or take some
	// hundred for each of its parts.
	Events int
	// Now is the engine's only clock: for ids, TTLs, ages and keys.
	Now func() time.Time
}

// Engine is one opened engine.
type Engine struct {
	// Store is new and empty, and a history.Groups, history.Messages and
	// watch.Events too. The
	// tests close it, some of them twice.
	Store history.Store
	// Reopen opens again, with the same Options, what the last Store left when
	// it was closed. Nil if nothing outlives a Store.
	Reopen func() history.Store
	// Partitioned: ids rise in the order of visibility within each log, but not
	// over all logs. For engines of several processes; one process has no excuse.
	Partitioned bool
	// Align returns the first id from the given one on that a push may have.
	// For engines whose partitions share out the ids; nil where any will do.
	Align func(history.Push, history.ID) history.ID
	// Settle waits until all that was appended before has been delivered to the
	// follower. For engines of several processes, where deliveries come soon
	// after Append returned; nil where they come before.
	Settle func()
}

// settle waits for deliveries where they come later than the append.
func (e *Engine) settle() {
	if e.Settle != nil {
		e.Settle()
	}
}

// Opener opens a new, empty engine that uses nothing beyond the life of t.
type Opener func(t testing.TB, o Options) Engine

// Clock is a clock that stands still but for Advance. All methods may be called
// from any goroutine.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a Clock that shows a whole millisecond of 2026.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)}
}

// Now returns the time that c shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves c by d, backward if d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
