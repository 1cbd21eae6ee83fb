package receipts

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"pushd.example/internal/history"
)

// Every is how often the store is told what was delivered.
const Every = time.Second

// Store is what a reporter tells. history.Messages is one.
type Store interface {
	RecordDelivered(ctx context.Context, d history.Deliveries) error
}

// Reporter tells the store what was delivered. Fields are set once, before Run;
// methods may be called from any goroutine.
type Reporter struct {
	Store   Store // nil: nothing is reported
	Timeout time.Duration
	Log     *slog.Logger

	dropped atomic.Uint64 // ranges and broadcasts that the store did not take

	mu      sync.Mutex // guards waiting
	waiting history.Deliveries
}

// Add gathers what the next report has.
func (r *Reporter) Add(d history.Deliveries) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting.Inboxes = append(r.waiting.Inboxes, d.Inboxes...)
	r.waiting.Broadcasts = addUp(r.waiting.Broadcasts, d.Broadcasts)
	r.waiting.Missed = r.waiting.Missed || d.Missed
}

// addUp adds more to counts and returns them. The caller gives more up.
func addUp(counts, more map[history.ID]int) map[history.ID]int {
	if counts == nil {
		return more
	}
	for id, n := range more {
		counts[id] += n
	}
	return counts
}

// Dropped returns how many ranges and broadcasts the store did not take.
func (r *Reporter) Dropped() uint64 { return r.dropped.Load() }

// Run calls collect, which calls Add, and Report, once a second until stop is
// closed. Calls of the store end with ctx.
func (r *Reporter) Run(ctx context.Context, stop <-chan struct{}, collect func()) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		collect()
		r.Report(ctx)
	}
}

// Report tells the store what was gathered. Deliveries that the store does not take
// are dropped: receipts do not know of them, and the next report tells watchers
// that something is missing.
func (r *Reporter) Report(ctx context.Context) {
	r.mu.Lock()
	d := r.waiting
	r.waiting = history.Deliveries{}
	r.mu.Unlock()
	if r.Store == nil || len(d.Inboxes) == 0 && len(d.Broadcasts) == 0 {
		r.Add(history.Deliveries{Missed: d.Missed})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	if err := r.Store.RecordDelivered(ctx, d); err != nil {
		r.dropped.Add(uint64(len(d.Inboxes) + len(d.Broadcasts)))
		r.Add(history.Deliveries{Missed: true})
		r.Log.Debug("recording deliveries", "error", err)
	}
}
