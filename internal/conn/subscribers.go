package conn

import (
	"slices"
	"sync"
	"sync/atomic"

	"pushd.example/internal/conn/receipts"
	"pushd.example/internal/history"
)

// subscribers finds subscriptions by user. It is shared: backends' calls add and
// remove, the store's follower offers deliveries. While there are none that
// costs the follower one load.
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

// offer offers a delivery to those whom it concerns.
func (l *subscribers) offer(d *history.Delivery) {
	if l.some.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.Resync || d.Message.Kind == history.Broadcast {
		for _, list := range l.byUser {
			for _, sub := range list {
				sub.offer(d, d.Prev)
			}
		}
		return
	}
	for _, r := range d.Recipients {
		for _, sub := range l.byUser[r.User] {
			sub.offer(d, r.Prev)
		}
	}
}

// collect gathers what was delivered.
func (l *subscribers) collect(reporter *receipts.Reporter) {
	if l.some.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range l.byUser {
		for _, sub := range list {
			reporter.Add(sub.delivered())
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
