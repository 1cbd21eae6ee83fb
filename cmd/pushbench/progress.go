//go:build linux

package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress prints a line a second, so that whoever waits sees what for.
type progress struct {
	out   io.Writer
	fleet *fleet
	conns int
	quit  chan struct{}
	ended sync.WaitGroup

	mu    sync.Mutex // guards what follows
	name  string     // "" before the first phase
	drive *drive     // nil unless messages are sent
}

func newProgress(out io.Writer, cfg *config, f *fleet) *progress {
	p := &progress{out: out, fleet: f, conns: cfg.hold.Conns, quit: make(chan struct{})}
	if !cfg.quiet {
		p.ended.Go(p.run)
	}
	return p
}

// phase says what is done from now on.
func (p *progress) phase(name string, d *drive) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.drive = name, d
}

func (p *progress) stop() {
	close(p.quit)
	p.ended.Wait()
}

func (p *progress) run() {
	start := time.Now()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	last := shown{at: start}
	for {
		select {
		case <-p.quit:
			return
		case now := <-second.C:
			last = p.print(last, now, now.Sub(start))
		}
	}
}

// shown is what the line before said.
type shown struct {
	at         time.Time
	drive      *drive
	sent       int64
	deliveries int64
}

func (p *progress) print(last shown, now time.Time, since time.Duration) shown {
	p.mu.Lock()
	name, d := p.name, p.drive
	p.mu.Unlock()
	t := p.fleet.tally()
	if d == nil {
		fmt.Fprintf(p.out, "%4.0fs  %s: %s of %s connections open", since.Seconds(), name, group(int64(t.Open)), group(int64(p.conns)))
		if t.Retried+t.Failed > 0 {
			fmt.Fprintf(p.out, ", %s put off, %s failed", group(int64(t.Retried)), group(int64(t.Failed)))
		}
		fmt.Fprintln(p.out)
		return shown{at: now}
	}
	is := shown{now, d, d.sent.Load(), int64(t.Deliveries)}
	if last.drive != d {
		last = shown{at: last.at}
	}
	seconds := now.Sub(last.at).Seconds()
	fmt.Fprintf(p.out, "%4.0fs  %s: %s messages/s, %s deliveries/s, %s under way, %s failed\n", since.Seconds(), name,
		perSecond(float64(is.sent-last.sent)/seconds), perSecond(float64(is.deliveries-last.deliveries)/seconds),
		group(max(0, d.expected.Load()-is.deliveries)), group(d.failed.Load()))
	return is
}
