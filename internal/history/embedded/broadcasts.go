package embedded

import (
	"sort"
	"sync/atomic"

	"pushd.example/internal/history"
)

// broadcast is one line of the broadcast log, without its body.
type broadcast struct {
	id      history.ID
	expires millis
	// by is the id of what took its place, 0 if nothing did. The committer sets it in
	// place, atomically, once: views that end before by do not heed it.
	by uint64
	// ttls counts the broadcasts that expire, up to and with this one, so that a
	// range without any is counted by subtraction.
	ttls  uint32
	keyed bool // it has a collapse key
}

// gone says whether a view up to the id last does not show b.
func (b *broadcast) gone(now millis, last history.ID) bool {
	by := history.ID(atomic.LoadUint64(&b.by))
	return b.expires.past(now) || by != 0 && by <= last
}

// broadcastLog is the index of the broadcast log: positions are indices, so
// that how many lie after a mark is a subtraction. It is a value: live only grows
// behind and is cut off in front, and all in it but by stays as it is, so that a
// copy made under Store.mu never changes for a view of that moment.
type broadcastLog struct {
	live []broadcast // by id
	// dropped is the last broadcast that is no longer in live, 0 if all are.
	dropped history.ID
	// replaced is the last id that was replaced since Open.
	replaced history.ID
}

func (l *broadcastLog) add(id history.ID, expires millis, keyed bool) {
	b := broadcast{id: id, expires: expires, keyed: keyed}
	if n := len(l.live); n > 0 {
		b.ttls = l.live[n-1].ttls
	}
	if expires != 0 {
		b.ttls++
	}
	l.live = append(l.live, b)
}

// replace says that by took the place of id; false if id is not there.
func (l *broadcastLog) replace(id, by history.ID) bool {
	i := l.from(id)
	if i == len(l.live) || l.live[i].id != id {
		return false
	}
	atomic.StoreUint64(&l.live[i].by, uint64(by))
	l.replaced = max(l.replaced, id)
	return true
}

// cut drops the first n of live.
func (l *broadcastLog) cut(n int) {
	if n > 0 {
		l.dropped, l.live = l.live[n-1].id, l.live[n:]
	}
}

// head returns the last id, 0 if there never was a broadcast.
func (l *broadcastLog) head() history.ID {
	if n := len(l.live); n > 0 {
		return l.live[n-1].id
	}
	return l.dropped
}

// from returns the index of the first broadcast with at least this id.
func (l *broadcastLog) from(id history.ID) int {
	// By index: a copy of a broadcast would read by, which the committer may be
	// setting.
	return sort.Search(len(l.live), func(i int) bool { return l.live[i].id >= id })
}

// has says whether id is in live.
func (l *broadcastLog) has(id history.ID) bool {
	i := l.from(id)
	return i < len(l.live) && l.live[i].id == id
}

// below returns the last id that is less than id. If that broadcast has been
// dropped, its id is no longer known, and id-1 says the same to a reader.
func (l *broadcastLog) below(id history.ID) history.ID {
	if i := l.from(id); i > 0 {
		return l.live[i-1].id
	}
	if id <= l.dropped {
		return id - min(id, 1)
	}
	return l.dropped
}

// upTo returns the log as it was when head was the last id given.
func (l broadcastLog) upTo(head history.ID) broadcastLog {
	l.live = l.live[:l.from(head+1)]
	return l
}

// kept returns the index of the first broadcast that retention shows.
func (l *broadcastLog) kept(count int, cutoff history.ID) int {
	return max(len(l.live)-count, l.from(cutoff), 0)
}

// shown counts those of live[from:] that a view up to the id last shows.
func (l *broadcastLog) shown(from int, now millis, last history.ID, recalled ids) int {
	tail := l.live[from:]
	if len(tail) == 0 {
		return 0
	}
	if l.replaced < tail[0].id && !expires(tail) {
		return len(tail) - recalled.between(tail[0].id, tail[len(tail)-1].id)
	}
	n := 0
	for i := range tail {
		if !tail[i].gone(now, last) && !recalled.has(tail[i].id) {
			n++
		}
	}
	return n
}

// expires says whether any of tail, which is not empty, ever expires.
func expires(tail []broadcast) bool {
	return tail[0].expires != 0 || tail[len(tail)-1].ttls != tail[0].ttls
}
