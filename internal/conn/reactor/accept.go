package reactor

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/proto"
)

// Refusal is which limit made the server answer a connection with 503.
type Refusal uint8

// The refusals.
const (
	// OverBudget: Config.MaxConnections are there.
	OverBudget Refusal = iota
	// OutOfFiles: the process or the system has no more descriptors.
	OutOfFiles
	// OverRate: Config.UpgradeRate.
	OverRate
	// OverRatePerIP: Config.UpgradeRatePerIP.
	OverRatePerIP
	// OverPerIP: Config.MaxPerIP.
	OverPerIP
	// OverHeads: Config.MaxHeads; of those refused, a part of the request is
	// known.
	OverHeads
	refusals
)

var refusalWords = [refusals]string{"budget", "files", "rate", "rate_per_ip", "per_ip", "heads"}

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
// It never stops accepting: a client for whom there is no room is told so.
func (r *Reactor) accept() {
	batch := make([]netpoll.Accepted, acceptBatch)
	for {
		n, err := r.listener.Accept(batch)
		if n > 0 {
			r.takeIn(batch[:n])
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

// takeIn gives a batch of connections to a loop, to the next one each time: a
// loop that is woken up for several of them costs less than several loops.
func (r *Reactor) takeIn(batch []netpoll.Accepted) {
	l := r.loops[r.next]
	r.next = (r.next + 1) % len(r.loops)
	for _, a := range batch {
		address, ok := r.enter(a)
		if !ok {
			continue
		}
		if !l.sockets.Put(1, arrival{socket: uint32(a.Socket), address: address}) {
			r.net.Close(a.Socket)
			r.gone(address)
		}
	}
	l.Wake()
}

// enter counts a connection in, or refuses it.
func (r *Reactor) enter(a netpoll.Accepted) (address uint32, ok bool) {
	if r.connections.Load() >= int64(r.cfg.MaxConnections) || a.Socket >= r.slots.Len() {
		r.turnDown(a, OverBudget)
		return 0, false
	}
	address = r.clients.key(a)
	if !r.clients.enter(address) {
		r.turnDown(a, OverPerIP)
		return 0, false
	}
	r.connections.Add(1)
	return address, true
}

// turnDown answers a connection that no loop gets.
func (r *Reactor) turnDown(a netpoll.Accepted, why Refusal) {
	r.refused[why].Add(1)
	r.refusalLog.write(why.String(), proto.ErrBusy, "", func() netip.Addr { return netip.AddrFrom16(a.IP).Unmap() })
	netpoll.Answer(r.net, a.Socket, r.busy(jitter()))
}

// busy returns the response to those that are refused; they may come back
// after so many seconds.
func (r *Reactor) busy(retryAfter int) []byte {
	r.refusal = proto.AppendHTTPError(r.refusal[:0], proto.ErrBusy, retryAfter)
	return r.refusal
}
