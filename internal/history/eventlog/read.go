package eventlog

import (
	"context"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
	"pushd.example/internal/history/watch"
)

// Read does what ReadEvents of watch.Events promises, with a function that finds
// pushes that are due.
func (l *Log) Read(ctx context.Context, q watch.Query, unacked Unacked) (watch.Page, error) {
	if err := ctx.Err(); err != nil {
		return watch.Page{}, err
	}
	if err := q.Check(); err != nil {
		return watch.Page{}, err
	}
	if err := q.After.Check(1); err != nil {
		return watch.Page{}, err
	}
	w := waiting{Log: l, patience: time.NewTimer(q.Wait), no: q.Wait <= 0}
	defer w.patience.Stop()
	for {
		page, news, change, err := l.read(q)
		if err != nil || page.Lost || len(q.After.Marks) == 0 {
			return page, err
		}
		var found *check
		if room := q.Limit - len(page.Events); room > 0 && q.Kinds.Has(watch.Unacked) && !w.over {
			found = l.check(min(room, l.size), unacked)
		}
		if len(page.Events) > 0 {
			return page, nil // the events of the check come with the next
		}
		if again, err := w.forCheck(ctx, found, news); err != nil {
			return watch.Page{}, err
		} else if again {
			continue
		}
		if w.no {
			return page, nil
		}
		q.After = page.Next
		if q.Kinds.Has(watch.Unacked) {
			change = min(change, l.untilCheck())
		}
		if err := w.forNews(ctx, news, change); err != nil {
			return watch.Page{}, err
		}
	}
}

// waiting is a reader that waits at most for the time of its query.
type waiting struct {
	*Log
	patience *time.Timer
	no       bool // it does not wait, or not any more
	over     bool // it has waited that long
}

// forCheck waits for a check, if there is one, and reports whether to read again
// from the same place.
func (w *waiting) forCheck(ctx context.Context, k *check, news <-chan struct{}) (again bool, err error) {
	if k == nil {
		return false, nil
	}
	patience := w.patience.C
	if w.no { // the check is part of what there is now
		news, patience = nil, nil
	}
	select {
	case <-k.done:
		return k.found > 0, k.err
	case <-news:
		return true, nil
	case <-patience:
		w.no, w.over = true, true
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// forNews waits for an event, or until a user may have become disconnected or a
// check is due.
func (w *waiting) forNews(ctx context.Context, news <-chan struct{}, change time.Duration) error {
	settle := time.NewTimer(change)
	defer settle.Stop()
	select {
	case <-news:
	case <-settle.C:
	case <-w.patience.C:
		w.no, w.over = true, true
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// read reads a page. It returns a channel that is closed when there is more, and
// the time until something may change without an event.
func (l *Log) read(q watch.Query) (page watch.Page, news <-chan struct{}, change time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return page, nil, 0, history.ErrClosed
	}
	l.settleLocked()
	now := engine.SinceEpoch(l.now())
	since := l.watchLocked(q.Kinds, now)
	next := watch.Mark{Read: now, Run: l.run, Seq: l.last}
	if len(q.After.Marks) > 0 {
		after := q.After.Marks[0]
		var at uint64
		at, page.Lost = l.findLocked(after)
		page.Lost = page.Lost || after.Read < since
		next.Seq = l.pageLocked(&page, at, q)
	}
	page.Next = watch.Position{Marks: []watch.Mark{next}}
	if l.news == nil {
		l.news = make(chan struct{})
	}
	change = watch.Linger
	if len(l.queue) > 0 {
		change = l.queue[0].due.Sub(l.now())
	}
	return page, l.news, change, nil
}

// watchLocked makes kinds recorded from now on, and returns since when all of them
// are.
func (l *Log) watchLocked(asked watch.Kind, now int64) (since int64) {
	asked &^= watch.Unacked // recorded always, when it is found
	for i := range kinds {
		if !asked.WithPairs().Has(1 << i) {
			continue
		}
		if now >= l.watched[i].Load() {
			l.since[i] = now
		}
		l.watched[i].Store(now + watch.WatchedFor.Milliseconds())
		since = max(since, l.since[i])
	}
	return since
}

// findLocked returns the number of the last event that a reader has seen, and
// whether events after it are missing.
func (l *Log) findLocked(after watch.Mark) (at uint64, lost bool) {
	dropped := l.last - uint64(len(l.events))
	if after.Run != l.run || after.Seq > l.last || after.Seq < dropped {
		return dropped, true
	}
	return after.Seq, false
}

// pageLocked fills page with the events after number at, and returns the number of
// the last one that it has passed.
func (l *Log) pageLocked(page *watch.Page, at uint64, q watch.Query) uint64 {
	for at < l.last && len(page.Events) < q.Limit {
		switch e := l.events[at%uint64(l.size)]; {
		case e.Kind == 0:
			page.Lost = page.Lost || q.Kinds.Has(watch.Delivered)
		case q.Kinds.Has(e.Kind):
			page.Events = append(page.Events, e)
		}
		at++
	}
	return at
}
