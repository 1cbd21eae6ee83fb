package historytest

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pushd.example/internal/history"
)

// follower records what a store delivers, and holds it to what is promised
// of every call.
type follower struct {
	t      testing.TB
	engine *Engine
	busy   atomic.Bool // a call is running
	stop   func()

	mu     sync.Mutex
	got    []history.Delivery
	last   map[string]history.ID // by log; "" for all of an engine that is one process
	before func(history.Delivery)
}

// follow begins to follow the store until the test ends.
func (r *rig) follow() *follower {
	r.Helper()
	f := &follower{t: r.T, engine: &r.engine, last: map[string]history.ID{}}
	f.stop = r.store.Follow(f.deliver)
	r.Cleanup(f.stop)
	return f
}

// onDelivery makes f call fn with each delivery before it is recorded. fn may
// block.
func (f *follower) onDelivery(fn func(history.Delivery)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = fn
}

func (f *follower) deliver(batch []history.Delivery) {
	if f.busy.Swap(true) {
		f.t.Error("deliver was called while a call was running")
	}
	defer f.busy.Store(false)
	if len(batch) == 0 {
		f.t.Error("deliver was called with nothing")
	}
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	for _, d := range batch {
		if before != nil {
			before(d)
		}
		f.record(d)
	}
	clear(batch) // it is the store's again: whoever still needs it fails
}

func (f *follower) record(d history.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.Recall || d.Acked != nil {
		f.got = append(f.got, d)
		return
	}
	for _, log := range f.logs(d) {
		if d.Message.ID <= f.last[log] {
			f.t.Errorf("delivered %d after %d", d.Message.ID, f.last[log])
		}
		f.last[log] = d.Message.ID
	}
	f.got = append(f.got, d)
}

// logs returns the names of the logs in which d has its order.
func (f *follower) logs(d history.Delivery) []string {
	if f.engine.Settle == nil {
		return []string{""}
	}
	if d.Message.Ephemeral {
		return nil
	}
	if d.Message.Kind == history.Broadcast {
		return []string{"broadcast"}
	}
	var logs []string
	for _, to := range d.Recipients {
		logs = append(logs, "inbox of "+to.User)
	}
	return logs
}

// takeUnattached is take where nobody was attached.
func (f *follower) takeUnattached() []history.Delivery { return f.engine.forNobody(f.take()) }

// take returns what was delivered since the last take.
func (f *follower) take() []history.Delivery {
	f.engine.settle()
	f.mu.Lock()
	defer f.mu.Unlock()
	got := slices.Clone(f.got)
	f.got = nil
	return f.engine.inOrder(got)
}
