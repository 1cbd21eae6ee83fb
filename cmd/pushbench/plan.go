//go:build linux

package main

import "fmt"

// kind is how a message is addressed.
type kind uint8

const (
	unicast kind = iota
	multicast
	broadcast
	kinds
)

func (k kind) String() string { return [...]string{"unicast", "multicast", "broadcast"}[k] }

// message says whom one message goes to: user first, or with a multicast fan
// users from first on (after the last comes the first again).
type message struct {
	kind       kind
	first, fan int
}

// plan says what the messages of a run are. It is a pure function of their
// numbers, so that who sends and who counts need not tell each other.
type plan struct {
	seed  uint64
	users int
	fan   int
	// upTo[k] of weight messages are of kind k or a lesser one.
	upTo   [kinds]uint64
	weight uint64
	// before[u] connections that read belong to users less than u.
	before []int
}

// newPlan plans messages of kinds by weight for the connections of cfg.
func newPlan(weights [kinds]int, fan int, cfg holdConfig, seed uint64) (*plan, error) {
	p := &plan{seed: seed, users: cfg.Users, fan: fan, before: make([]int, cfg.Users+1)}
	for k, w := range weights {
		p.weight += uint64(w)
		p.upTo[k] = p.weight
	}
	if weights[multicast] > 0 && fan > cfg.Users {
		return nil, fmt.Errorf("-fan %d: there are only %d users", fan, cfg.Users)
	}
	for i := range cfg.Conns {
		if !cfg.stuck(i) {
			p.before[i%cfg.Users+1]++
		}
	}
	for u := range cfg.Users {
		p.before[u+1] += p.before[u]
	}
	return p, nil
}

// scatter is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom
// number generators, 2014): equal for equal x, as good as random otherwise.
func scatter(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

func (p *plan) message(seq uint32) message {
	r := scatter(p.seed + uint64(seq))
	m := message{first: int(scatter(r) % uint64(p.users)), fan: 1}
	for r%p.weight >= p.upTo[m.kind] {
		m.kind++
	}
	if m.kind == multicast {
		m.fan = p.fan
	}
	return m
}

// deliveries is how many connections m must reach.
func (p *plan) deliveries(m message) int {
	all := p.before[p.users]
	if m.kind == broadcast {
		return all
	}
	last := m.first + m.fan
	if last <= p.users {
		return p.before[last] - p.before[m.first]
	}
	return all - p.before[m.first] + p.before[last-p.users]
}

// verdict is how a run's deliveries compare with its plan.
type verdict struct {
	expected, lost, duplicates int64
}

// judge compares counts, how often each message came, with what should have
// come of the first sent messages. Messages in failed are left out: the
// server may or may not have sent them.
func (p *plan) judge(sent uint32, failed map[uint32]bool, counts []uint32) (v verdict) {
	for seq := range sent {
		if failed[seq] {
			continue
		}
		want := int64(p.deliveries(p.message(seq)))
		got := int64(0)
		if int(seq) < len(counts) {
			got = int64(counts[seq])
		}
		v.expected += want
		v.lost += max(0, want-got)
		v.duplicates += max(0, got-want)
	}
	return v
}
