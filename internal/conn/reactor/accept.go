package reactor

import (
	"errors"
	"hash/maphash"
	"net"
	"sync"
	"syscall"
	"time"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/proto"
)

// Refusal is why a connection was answered 503 before its request was complete.
type Refusal uint8

// The refusals.
const (
	// OverBudget: Config.MaxConnections are there.
	OverBudget Refusal = iota
	// OutOfFiles: the process or the system has no more descriptors.
	OutOfFiles
	// OverRate: Config.UpgradeRate.
	OverRate
	// OverPerIP: Config.MaxPerIP.
	OverPerIP
	// OverHeads: Config.MaxHeads; of those refused, a part of the request is
	// known.
	OverHeads
	refusals
)

var refusalWords = [refusals]string{"budget", "files", "rate", "per_ip", "heads"}

// String returns the word that metrics use.
func (r Refusal) String() string { return refusalWords[r] }

// Refused returns how many connections were refused, by Refusal.
func (r *Reactor) Refused() (n [refusals]uint64) {
	for i := range n {
		n[i] = r.refused[i].Load()
	}
	return n
}

const (
	acceptBatch = 64
	// acceptPause is how long the acceptor waits after trouble that waiting
	// may end.
	acceptPause = 20 * time.Millisecond
)

// accept is the acceptor's goroutine, from Run to the beginning of Shutdown.
// It never stops accepting: whom there is no room for is told so.
func (r *Reactor) accept() {
	batch := make([]netpoll.Accepted, acceptBatch)
	for {
		n, err := r.listener.Accept(batch)
		for _, a := range batch[:n] {
			r.admit(a)
		}
		switch {
		case err == nil:
			if r.full && n > 0 {
				r.full = false
				r.cfg.Log.Info("open files are to be had again")
			}
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
			r.turnAway(err)
		default:
			r.cfg.Log.Warn("accepting a connection", "error", err)
			if !r.pause() {
				return
			}
		}
	}
}

// turnAway answers one connection that there is no descriptor for.
func (r *Reactor) turnAway(err error) {
	if !r.full {
		r.full = true
		r.cfg.Log.Warn("out of open files: connections are refused", "error", err)
	}
	if r.listener.Refuse(r.busy(jitter())) {
		r.refused[OutOfFiles].Add(1)
	} else {
		r.pause() // Accept returns net.ErrClosed next, if that is why
	}
}

// pause waits a little; it reports false if it is time to stop.
func (r *Reactor) pause() bool {
	t := time.NewTimer(acceptPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.stopping:
		return false
	}
}

// busy returns the response to those who are refused; they may come back after
// so many seconds.
func (r *Reactor) busy(retryAfter int) []byte {
	r.refusal = proto.AppendHTTPError(r.refusal[:0], proto.ErrBusy, retryAfter)
	return r.refusal
}

// admit hands a connection to a loop, or refuses it.
func (r *Reactor) admit(a netpoll.Accepted) {
	refuse := func(why Refusal, retryAfter int) {
		r.refused[why].Add(1)
		netpoll.Answer(r.net, a.Socket, r.busy(retryAfter))
	}
	if r.connections.Load() >= int64(r.cfg.MaxConnections) || a.Socket >= r.slots.Len() {
		refuse(OverBudget, jitter())
		return
	}
	// Before the rate, so that an address that may have no more takes no
	// place in the queue from others.
	ip, ok := r.perIP.enter(a.IP)
	if !ok {
		refuse(OverPerIP, jitter())
		return
	}
	if wait := r.upgrades.admit(time.Now()); wait > 0 {
		r.perIP.leave(ip)
		refuse(OverRate, wait)
		return
	}
	r.connections.Add(1)
	l := r.loops[r.next]
	r.next = (r.next + 1) % len(r.loops)
	if !l.post(arrival{socket: uint32(a.Socket), ip: ip}) {
		r.net.Close(a.Socket)
		r.gone(ip)
	}
}

// perIP counts connections by address: by a hash of it, since four bytes a
// connection are to be had and sixteen are not. Two addresses of one hash
// share their bound, which among a million addresses happens to a few hundred.
type perIP struct {
	most uint32
	seed maphash.Seed

	mu    sync.Mutex // guards count
	count map[uint32]uint32
}

func newPerIP(most int) *perIP {
	return &perIP{most: uint32(most), seed: maphash.MakeSeed(), count: map[uint32]uint32{}}
}

// enter counts a connection in and returns where; ok is false if the address
// has as many as it may. A nil perIP counts nobody.
func (p *perIP) enter(ip [16]byte) (at uint32, ok bool) {
	if p == nil {
		return 0, true
	}
	at = p.hash(ip)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count[at] >= p.most {
		return 0, false
	}
	p.count[at]++
	return at, true
}

// leave undoes enter; at is 0 for who was not counted.
func (p *perIP) leave(at uint32) {
	if at == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count[at]--; p.count[at] == 0 {
		delete(p.count, at)
	}
}

// hash is never 0. Of an IPv6 address the network counts: whoever has one
// address there has 2^64.
func (p *perIP) hash(ip [16]byte) uint32 {
	const v4 = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"
	key := ip[:8]
	if string(ip[:12]) == v4 {
		key = ip[12:]
	}
	return max(1, uint32(maphash.Bytes(p.seed, key)))
}
