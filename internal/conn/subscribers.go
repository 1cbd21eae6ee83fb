package conn

import (
	"slices"
	"sync"
	"sync/atomic"

	"pushd.example/internal/history"
)

// subscribers finds subscriptions by user. It is shared: backends' calls put
// and take, the postman looks. While nobody subscribes it costs the postman one
// load.
type subscribers struct {
	some    atomic.Int64 // how many there are
	dropped [drops]atomic.Uint64

	mu     sync.Mutex // guards what follows
	byUser map[string][]*Subscription
	closed bool
}

// add puts sub in; it reports false when the server has ended.
func (l *subscribers) add(sub *Subscription) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.byUser == nil {
		l.byUser = map[string][]*Subscription{}
	}
	l.byUser[sub.user] = append(l.byUser[sub.user], sub)
	l.some.Add(1)
	return true
}

// remove takes sub out; it reports false if it was not there.
func (l *subscribers) remove(sub *Subscription) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.byUser[sub.user]
	i := slices.Index(list, sub)
	if i < 0 {
		return false
	}
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(l.byUser, sub.user)
	} else {
		l.byUser[sub.user] = list
	}
	l.some.Add(-1)
	return true
}

// tell tells those whom deliveries concern of them.
func (l *subscribers) tell(batch []history.Delivery) {
	if l.some.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		d := &batch[i]
		if d.Resync || d.Message.Kind == history.Broadcast {
			l.tellAllLocked(d)
		}
		for _, r := range d.Recipients {
			for _, sub := range l.byUser[r.User] {
				sub.tell(d)
			}
		}
	}
}

func (l *subscribers) tellAllLocked(d *history.Delivery) {
	for _, list := range l.byUser {
		for _, sub := range list {
			sub.tell(d)
		}
	}
}

// collect gathers what was delivered.
func (l *subscribers) collect(u *unnoted) {
	if l.some.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range l.byUser {
		for _, sub := range list {
			u.add(sub.delivered())
		}
	}
}

// of returns the subscriptions of user that are attached.
func (l *subscribers) of(user string) []*Subscription {
	if l.some.Load() == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.byUser[user]), func(sub *Subscription) bool { return !sub.attached.Load() })
}

// users returns the users after the given one that subscribe.
func (l *subscribers) users(after string) []string {
	if l.some.Load() == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var users []string
	for user := range l.byUser {
		if user > after {
			users = append(users, user)
		}
	}
	return users
}

// close ends all subscriptions and takes no more.
func (l *subscribers) close(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, list := range l.byUser {
		for _, sub := range list {
			sub.end(why)
		}
	}
}
