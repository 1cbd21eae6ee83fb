package embedded

import "hash/maphash"

// presence counts the connections attached by user. It keeps a hash of each
// user instead of the name: the map holds no pointers, so that the collector
// never walks it, and takes about 25 bytes a user.
//
// Two users whose 64-bit hashes collide (chance about n²/2^65: one in 37
// million stores of a million users) count as one. Then online is too high for
// both, and followers are offered messages of one while only the other is
// here. They compare names; nobody gets another's message.
type presence struct {
	seed   maphash.Seed // secret, so that nobody can choose names that collide
	counts map[uint64]uint32
	total  int
}

func newPresence() presence {
	return presence{seed: maphash.MakeSeed(), counts: map[uint64]uint32{}}
}

func (p *presence) add(user string) {
	p.counts[maphash.String(p.seed, user)]++
	p.total++
}

func (p *presence) remove(user string) {
	h := maphash.String(p.seed, user)
	switch n := p.counts[h]; n {
	case 0:
		return
	case 1:
		delete(p.counts, h)
	default:
		p.counts[h] = n - 1
	}
	p.total--
}

func (p *presence) count(user string) int {
	if p.total == 0 {
		return 0
	}
	return int(p.counts[maphash.String(p.seed, user)])
}
