package reactor

import (
	"hash/maphash"
	"sync"

	"pushd.example/internal/conn/netpoll"
)

// clients knows clients by their address, and counts the connections of each
// if there is a bound. An address is a key of four bytes, a hash, since a
// connection has no room for sixteen. Two addresses with one key share their
// limits; among a million addresses that happens to a few hundred.
type clients struct {
	most uint32 // connections of one address; 0: no bound
	seed maphash.Seed

	mu    sync.Mutex // guards count
	count map[uint32]uint32
}

// key returns the key of a client's address. Every limit that is for one
// address uses it. It is never 0.
//
// Only the network of an IPv6 address counts, since everybody who has one
// address there has 2^64.
func (c *clients) key(a netpoll.Accepted) uint32 {
	const v4 = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"
	network := a.IP[:8]
	if string(a.IP[:12]) == v4 {
		network = a.IP[12:]
	}
	return max(1, uint32(maphash.Bytes(c.seed, network)))
}

func newClients(most int) clients {
	return clients{most: uint32(most), seed: maphash.MakeSeed(), count: map[uint32]uint32{}}
}

// enter counts a connection; it reports false if the address has as many as it
// may.
func (c *clients) enter(key uint32) bool {
	if c.most == 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[key] >= c.most {
		return false
	}
	c.count[key]++
	return true
}

// leave undoes enter.
func (c *clients) leave(key uint32) {
	if c.most == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[key]--; c.count[key] == 0 {
		delete(c.count, key)
	}
}
