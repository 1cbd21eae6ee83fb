package memory

import (
	"time"

	"pushd.example/internal/history"
)

// entry is one line of a log.
type entry struct {
	history.Message
	expires  time.Time // when its TTL ends; zero: never
	recalled bool
	replaced bool // another has taken its place
}

func newEntry(id history.ID, now time.Time, p history.Push, data []byte) entry {
	e := entry{Message: history.Message{ID: id, Kind: p.Kind, Data: data, CollapseKey: p.CollapseKey, Ephemeral: p.Ephemeral}}
	if p.TTL > 0 {
		e.expires = roundUp(now.Truncate(time.Millisecond).Add(p.TTL))
	}
	return e
}

// roundUp returns the first whole millisecond that is not before t.
func roundUp(t time.Time) time.Time {
	if whole := t.Truncate(time.Millisecond); whole.Before(t) {
		return whole.Add(time.Millisecond)
	}
	return t
}

// log is everything that was ever appended to an inbox or to the broadcast
// log, oldest first.
type log []entry

// keep is the retention of one log.
type keep struct {
	count int
	age   time.Duration
}

// head returns the last id, 0 if there is none.
func (l log) head() history.ID { return l.below(history.MaxID + 1) }

// below returns the last id that is less than id, 0 if there is none.
func (l log) below(id history.ID) history.ID {
	var last history.ID
	for _, e := range l {
		if e.ID < id {
			last = e.ID
		}
	}
	return last
}

// shown returns the entries that are listed at time now.
func (l log) shown(now time.Time, k keep) []entry {
	var out []entry
	for i, e := range l {
		expired := !e.expires.IsZero() && !now.Before(e.expires)
		if !l.dropped(i, now, k) && !expired && !e.recalled && !e.replaced {
			out = append(out, e)
		}
	}
	return out
}

// replace takes the newest entry with a collapse key out, if it lies after id.
func (l log) replace(key string, id history.ID) {
	if key == "" {
		return
	}
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].CollapseKey == key {
			l[i].replaced = l[i].ID > id
			return
		}
	}
}

// dropped says whether retention hides entry i at time now.
func (l log) dropped(i int, now time.Time, k keep) bool {
	return i < len(l)-k.count || l[i].ID < history.FirstIDAt(now.Add(-k.age))
}

// truncated says whether retention hides an entry after id.
func (l log) truncated(id history.ID, now time.Time, k keep) bool {
	for i, e := range l {
		if e.ID > id && l.dropped(i, now, k) {
			return true
		}
	}
	return false
}

// find returns the index of the entry with this id, -1 if there is none.
func (l log) find(id history.ID) int {
	for i, e := range l {
		if e.ID == id {
			return i
		}
	}
	return -1
}
