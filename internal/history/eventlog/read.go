package eventlog

import (
	"context"
	"time"

	"pushd/internal/history"
)

// Unacked records, with RecordUnacked, some events of what is due by now, about
// so many at most. It returns how many, and when the next is due: the zero time if
// none is.
type Unacked func(most int) (n int, next time.Time, err error)

// Read does what ReadEvents of history.Events promises, with a function that it
// calls for readers of that kind who have read all there is.
func (l *Log) Read(ctx context.Context, q history.EventQuery, unacked Unacked) (history.EventPage, error) {
	if err := ctx.Err(); err != nil {
		return history.EventPage{}, err
	}
	if err := q.Check(); err != nil {
		return history.EventPage{}, err
	}
	if err := q.After.Check(1); err != nil {
		return history.EventPage{}, err
	}
	patience := time.NewTimer(q.Wait)
	defer patience.Stop()
	var look time.Time // when to look for what is due
	for {
		page, news, change, err := l.read(q)
		if err != nil || len(page.Events) > 0 || page.Lost || len(q.After.Marks) == 0 {
			return page, err
		}
		if q.Kinds.Has(history.Unacked) {
			if !time.Now().Before(look) {
				n, next, err := unacked(q.Limit)
				if err != nil {
					return history.EventPage{}, err
				}
				look = time.Now().Add(l.untilDue(next))
				if n > 0 || closed(news) { // another reader may have found it
					continue
				}
			}
			change = min(change, time.Until(look))
		}
		if q.Wait <= 0 {
			return page, nil
		}
		q.After = page.Next
		settle := time.NewTimer(change)
		select {
		case <-news:
		case <-settle.C:
		case <-patience.C:
			q.Wait = 0
		case <-ctx.Done():
			settle.Stop()
			return history.EventPage{}, ctx.Err()
		}
		settle.Stop()
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// untilDue returns when to look again for what is due: that is next, or comes
// later, and no sooner than a push may ask for.
func (l *Log) untilDue(next time.Time) time.Duration {
	if next.IsZero() {
		return history.MinUnackedAfter
	}
	return max(time.Millisecond, min(next.Sub(l.now()), history.MinUnackedAfter))
}

// read reads a page, and returns what is closed when there is more, and when to
// look in any case.
func (l *Log) read(q history.EventQuery) (page history.EventPage, news <-chan struct{}, change time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return page, nil, 0, history.ErrClosed
	}
	l.settleLocked()
	now := history.SinceEpoch(l.now())
	since := l.watchLocked(q.Kinds, now)
	next := history.PositionMark{Read: now, Run: l.run, Seq: l.last}
	if len(q.After.Marks) > 0 {
		after := q.After.Marks[0]
		var at uint64
		at, page.Lost = l.findLocked(after)
		page.Lost = page.Lost || after.Read < since
		next.Seq = l.pageLocked(&page, at, q)
	}
	page.Next = history.Position{Marks: []history.PositionMark{next}}
	if l.news == nil {
		l.news = make(chan struct{})
	}
	change = history.Linger
	if len(l.queue) > 0 {
		change = l.queue[0].due.Sub(l.now())
	}
	return page, l.news, change, nil
}

// watchLocked has kinds recorded from now on, and returns since when all of
// them have been.
func (l *Log) watchLocked(asked history.EventKind, now int64) (since int64) {
	asked &^= history.Unacked // recorded always, when it is found out
	for i := range kinds {
		if !asked.WithPairs().Has(1 << i) {
			continue
		}
		if now >= l.watched[i].Load() {
			l.since[i] = now
		}
		l.watched[i].Store(now + history.WatchedFor.Milliseconds())
		since = max(since, l.since[i])
	}
	return since
}

// findLocked returns the number of the last event that a reader has seen, and
// whether those after it are not all there.
func (l *Log) findLocked(after history.PositionMark) (at uint64, lost bool) {
	dropped := l.last - uint64(len(l.events))
	if after.Run != l.run || after.Seq > l.last || after.Seq < dropped {
		return dropped, true
	}
	return after.Seq, false
}

// pageLocked fills page with what comes after event at, and returns how far it
// came.
func (l *Log) pageLocked(page *history.EventPage, at uint64, q history.EventQuery) uint64 {
	for at < l.last && len(page.Events) < q.Limit {
		switch e := l.events[at%uint64(l.size)]; {
		case e.Kind == 0:
			page.Lost = page.Lost || q.Kinds.Has(history.Delivered)
		case q.Kinds.Has(e.Kind):
			page.Events = append(page.Events, e)
		}
		at++
	}
	return at
}
