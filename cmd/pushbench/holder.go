//go:build linux

package main

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// tick is how long a holder may leave orders and reports waiting.
const tick = 5 * time.Millisecond

// holder holds connections: one loop on one thread owns all of its fields, so
// there is nothing to lock. Another goroutine decodes orders.
type holder struct {
	cfg        holdConfig
	handshakes *handshakes
	clock      clock
	server     unix.Sockaddr
	sources    []unix.Sockaddr
	hello      []byte // the frame to send once upgraded
	inflater   inflater

	ep     int
	conns  []*conn // by file descriptor
	buf    []byte  // what is being read
	out    []byte  // what is being written
	orders chan order

	// Opening: of this process's share, goal are wanted and next have been
	// begun, the first of this order at opening; pending are neither open nor
	// given up yet.
	goal, next, first, pending int
	opening                    int64
	retries                    []retry // the next first

	tally  tally
	told   tally // as last reported
	toldAt int64
	result result
}

// retry is a connection to begin again.
type retry struct {
	index int
	at    int64
}

// runHolder is a child's main: it returns when in ends.
func runHolder(in io.Reader, out io.Writer) error {
	dec := gob.NewDecoder(in)
	var cfg holdConfig
	if err := dec.Decode(&cfg); err != nil {
		return fmt.Errorf("reading what to hold: %w", err)
	}
	h, err := newHolder(cfg)
	if err != nil {
		return err
	}
	defer h.close()
	go func() {
		defer close(h.orders)
		for {
			var o order
			if dec.Decode(&o) != nil {
				return
			}
			h.orders <- o
		}
	}()
	runtime.LockOSThread()
	return h.run(gob.NewEncoder(out))
}

func newHolder(cfg holdConfig) (*holder, error) {
	h := &holder{cfg: cfg, buf: make([]byte, 256<<10), orders: make(chan order)}
	var err error
	if h.handshakes, err = newHandshakes(cfg); err != nil {
		return nil, err
	}
	if h.clock, err = newClock(); err != nil {
		return nil, err
	}
	_, host, _, err := splitURL(cfg.URL, "ws")
	if err != nil {
		return nil, err
	}
	if h.server, err = resolve(host); err != nil {
		return nil, err
	}
	for _, s := range cfg.Sources {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("-sources: %w", err)
		}
		h.sources = append(h.sources, sockaddr(netip.AddrPortFrom(addr, 0)))
	}
	if cfg.Send != "" {
		h.hello = appendClientFrame(nil, opText, []byte(cfg.Send))
	}
	h.result.Errors = errorCounts{}
	if h.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("making an epoll instance: %w", err)
	}
	return h, nil
}

func (h *holder) close() {
	for _, c := range h.conns {
		if c != nil {
			unix.Close(c.fd)
		}
	}
	unix.Close(h.ep)
}

func (h *holder) run(out *gob.Encoder) error {
	events := make([]unix.EpollEvent, 512)
	for {
		n, err := unix.EpollWait(h.ep, events, int(tick/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for events: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if c := h.conns[e.Fd]; c != nil {
				h.ready(c, e.Events)
			}
		}
		var answer *result
		select {
		case o, more := <-h.orders:
			if !more {
				return nil
			}
			answer = h.obey(o)
		default:
		}
		h.openMore()
		if err := h.report(out, answer); err != nil {
			return nil // the parent is gone
		}
	}
}

func (h *holder) obey(o order) *result {
	if o.Open > 0 {
		h.goal = (o.Open - h.cfg.Part + h.cfg.Parts - 1) / h.cfg.Parts
		h.first, h.opening = h.next, h.clock.now()
	}
	if o.Run != 0 {
		h.tally.Run, h.tally.Deliveries, h.tally.Bytes, h.tally.Last = o.Run, 0, 0, 0
		h.result.Delivery, h.result.Counts = histogram{}, nil
	}
	if !o.Report {
		return nil
	}
	h.result.CPU = ownCPU()
	return &h.result
}

// report tells the parent what changed, every tick at most.
func (h *holder) report(out *gob.Encoder, answer *result) error {
	now := h.clock.now()
	if answer == nil && (h.tally == h.told || now-h.toldAt < int64(tick)) {
		return nil
	}
	h.told, h.toldAt = h.tally, now
	return out.Encode(status{Tally: h.tally, Result: answer})
}

// openMore begins connections as far as the goal, the rate and the number in
// flight allow.
func (h *holder) openMore() {
	now := h.clock.now()
	for h.pending < h.cfg.InFlight {
		switch {
		case len(h.retries) > 0 && h.retries[0].at <= now:
			index := h.retries[0].index
			h.retries = h.retries[1:]
			h.dial(index, now)
		case h.next < h.goal:
			due := now
			if h.cfg.Rate > 0 {
				// Counted from when it was due: a loop that is late does not
				// make the server look faster.
				due = h.opening + int64(float64(h.next-h.first)/h.cfg.Rate*1e9)
			}
			if due > now {
				return
			}
			index := h.cfg.First + h.cfg.Part + h.next*h.cfg.Parts
			h.next++
			h.dial(index, due)
		default:
			return
		}
	}
}

func (h *holder) fail(err error) {
	h.tally.Failed++
	h.result.Errors.note(err)
}

func resolve(hostport string) (unix.Sockaddr, error) {
	addr, err := resolveTCP(hostport)
	if err != nil {
		return nil, err
	}
	return sockaddr(addr), nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
