package conn

import "time"

// refused has the users whom a backend does not let in, and until when. It
// belongs to a shard's loop.
type refused struct {
	until map[string]time.Time
	tidy  int // at so many entries, those whose time is over are deleted
}

func (r *refused) add(user string, now time.Time, d time.Duration) {
	const few = 64
	if r.until == nil {
		r.until, r.tidy = map[string]time.Time{}, few
	}
	r.until[user] = now.Add(d)
	if len(r.until) < r.tidy {
		return
	}
	for user, until := range r.until {
		if !until.After(now) {
			delete(r.until, user)
		}
	}
	r.tidy = 2*len(r.until) + few
}

// left returns for how long user is still refused; 0 or less: not at all.
func (r *refused) left(user string, now time.Time) time.Duration { return r.until[user].Sub(now) }
