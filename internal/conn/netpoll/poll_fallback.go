//go:build !linux || fallback

package netpoll

import (
	"sync"
	"time"
)

// Poller collects events from the goroutines of its sockets.
type Poller struct {
	net  *Net
	wake chan struct{} // holds one token while there may be something to see

	mu      sync.Mutex
	pending []*socket // with news, each once
}

// NewPoller implements the contract.
func (n *Net) NewPoller() (*Poller, error) {
	return &Poller{net: n, wake: make(chan struct{}, 1)}, nil
}

// Add implements the contract.
func (p *Poller) Add(number int, tag uint64) error {
	s, err := p.net.get(number)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poller, s.tag = p, tag
	r := Writable
	if len(s.in) > 0 {
		r |= Readable
	}
	if s.ended != nil {
		r |= Readable | Hup
	}
	s.tellLocked(r)
	return nil
}

// Remove implements the contract.
func (p *Poller) Remove(number int) error {
	s, err := p.net.get(number)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.poller = nil
	s.news = 0
	s.mu.Unlock()
	p.forget(s)
	return nil
}

func (p *Poller) forget(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, q := range p.pending {
		if q == s {
			p.pending = append(p.pending[:i], p.pending[i+1:]...)
			return
		}
	}
}

// add queues s; s.mu is held, which is always taken before p.mu.
func (p *Poller) add(s *socket) {
	p.mu.Lock()
	p.pending = append(p.pending, s)
	p.mu.Unlock()
	p.Wake()
}

// Wait implements the contract.
func (p *Poller) Wait(events []Event, timeout time.Duration) (int, error) {
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case <-p.wake:
		case <-timer.C:
		}
	}
	p.mu.Lock()
	n := min(len(events), len(p.pending))
	taken := append([]*socket(nil), p.pending[:n]...)
	p.pending = append(p.pending[:0], p.pending[n:]...)
	more := len(p.pending) > 0
	p.mu.Unlock()
	if more {
		p.Wake()
	}
	n = 0
	for _, s := range taken {
		s.mu.Lock()
		if s.poller == p && s.news != 0 {
			events[n] = Event{Tag: s.tag, Ready: s.news}
			s.news = 0
			n++
		}
		s.mu.Unlock()
	}
	return n, nil
}

// Wake implements the contract.
func (p *Poller) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Close implements the contract.
func (p *Poller) Close() error { return nil }
