package reactor

import (
	"math/rand/v2"
	"sync"
	"time"
)

// upgrades is the one place that paces handshakes. Only a complete request
// that the handler wants to serve takes from it, so that clients that send
// half a request, or are refused, take nothing from others.
//
// It holds a bucket for all clients and two for each address: one for the rate
// that addresses may have, and one that measures the address's share of the
// rate of all. An address that takes more than a quarter has only the first half
// of the queue, so that it cannot keep others out; since half of the queue gives
// turns as fast as all of it, a proxy loses nothing. A nil upgrades lets
// everybody in at once.
type upgrades struct {
	// Set once; each is 0 where there is no rate.
	total, address, share pace

	mu        sync.Mutex // guards what follows
	all       bucket
	addresses map[uint32]usage // by the key of a client's address
	prune     int              // the number of addresses at which unused ones are deleted
}

// usage is what an address has used.
type usage struct{ rate, share bucket }

// pace is a rate, and how much of it may be used in advance.
type pace struct {
	each  time.Duration // between two turns
	ahead time.Duration // how far in the future a turn may lie
}

// bucket gives turns at a pace, and times to come back to clients that find it
// full. The zero bucket is unused.
type bucket struct {
	next time.Time // the next free turn
	back time.Time // when the last client that was told to come back will do so
}

const (
	// turnSlack is how much unused time may be made up for: turns that fall
	// into one slack are given together, so that a loop wakes up for several.
	turnSlack = 5 * time.Millisecond
	// maxRetryAfter is the longest time that a client is told to wait: some of
	// those that are expected never come, and some ignore what they are told.
	maxRetryAfter = 30 * time.Second
	// minPrune is the fewest addresses that are worth a search for unused ones.
	minPrune = 1024
)

// newUpgrades returns nil if neither all clients nor addresses have a rate.
func newUpgrades(l *Limits) *upgrades {
	if l.UpgradeRate <= 0 && l.UpgradeRatePerIP <= 0 {
		return nil
	}
	u := &upgrades{addresses: map[uint32]usage{}, prune: minPrune}
	if l.UpgradeRate > 0 {
		u.total.each = time.Duration(float64(time.Second) / l.UpgradeRate)
		u.total.ahead = time.Duration(l.UpgradeQueue) * u.total.each
		u.share = pace{each: 4 * u.total.each, ahead: time.Second}
	}
	if l.UpgradeRatePerIP > 0 {
		u.address.each = time.Duration(float64(time.Second) / l.UpgradeRatePerIP)
		u.address.ahead = max(time.Second, u.address.each)
	}
	return u
}

// verdict is what becomes of a request.
type verdict struct {
	turn       time.Time // when it may begin; the zero time is at once
	retryAfter int       // seconds; 0 if the request is admitted
	why        Refusal   // if it is not
}

// admit gives a request from an address its turn, or says when to come back.
func (u *upgrades) admit(now time.Time, address uint32) verdict {
	if u == nil {
		return verdict{}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	use := u.addresses[address]
	v := u.judge(now, &use)
	u.addresses[address] = use
	u.forget(now)
	return v
}

// judge is admit for an address that has used use.
func (u *upgrades) judge(now time.Time, use *usage) verdict {
	// The address first: one that is over its own rate takes no turn from others.
	if u.address.each > 0 && use.rate.full(now, u.address) {
		return verdict{retryAfter: use.rate.putOff(now, u.address), why: OverRatePerIP}
	}
	var turn time.Time
	if u.total.each > 0 {
		queue, greedy := u.total, use.share.full(now, u.share)
		if greedy {
			queue.ahead /= 2
		}
		if u.all.full(now, queue) {
			return verdict{retryAfter: u.all.putOff(now, u.total), why: OverRate}
		}
		if !greedy {
			use.share.take(now, u.share)
		}
		turn = u.all.take(now, u.total)
	}
	if u.address.each > 0 {
		use.rate.take(now, u.address)
	}
	return verdict{turn: turn}
}

// forget deletes unused buckets of addresses once the map has doubled since the
// last time.
func (u *upgrades) forget(now time.Time) {
	if len(u.addresses) < u.prune {
		return
	}
	for address, use := range u.addresses {
		if use.rate.unused(now) && use.share.unused(now) {
			delete(u.addresses, address)
		}
	}
	u.prune = max(minPrune, 2*len(u.addresses))
}

// unused reports whether the bucket may be deleted.
func (b *bucket) unused(now time.Time) bool { return b.next.Before(now) && b.back.Before(now) }

// full reports whether the next turn lies too far ahead.
func (b *bucket) full(now time.Time, p pace) bool { return b.next.Sub(now) > p.ahead }

// take returns the next turn.
func (b *bucket) take(now time.Time, p pace) time.Time {
	if earliest := now.Add(-turnSlack); b.next.Before(earliest) {
		b.next = earliest
	}
	turn := b.next
	b.next = turn.Add(p.each)
	return turn
}

// putOff returns in how many seconds a client is to come back: clients are
// told so one after the other, at the pace, so that a crowd becomes a queue
// and most of it is put off once only.
func (b *bucket) putOff(now time.Time, p pace) (retryAfter int) {
	if b.back.Before(now) {
		b.back = now
	}
	b.back = b.back.Add(p.each)
	wait := b.back.Sub(now)
	if wait > maxRetryAfter {
		b.back = now.Add(maxRetryAfter)
		wait = maxRetryAfter/2 + rand.N(maxRetryAfter/2)
	}
	return 1 + int(wait/time.Second)
}
