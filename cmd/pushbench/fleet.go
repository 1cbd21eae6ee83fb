//go:build linux

package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// holdCommand is the hidden command line of a child.
const holdCommand = "hold"

// fleet is the parent's side of the processes that hold connections. A process
// of their own keeps receiving apart from sending, and a process may have only
// so many files. Its methods are called by one goroutine, except for tally.
type fleet struct {
	children []*child // set before anything else is called

	mu sync.Mutex // guards what follows, and every child's tally, result and err
	// changed is closed, and another put in its place, when a child says
	// something.
	changed chan struct{}
}

type child struct {
	cmd    *exec.Cmd
	orders *gob.Encoder
	stdin  io.Closer
	done   chan struct{} // closed when it says nothing more

	tally  tally
	result *result
	err    error
}

// startFleet starts procs processes that hold nothing yet.
func startFleet(cfg holdConfig, procs int) (*fleet, error) {
	f := &fleet{changed: make(chan struct{})}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	for i := range procs {
		cfg.Part, cfg.Parts = i, procs
		if err := f.start(program, cfg); err != nil {
			f.stop()
			return nil, fmt.Errorf("starting a process to hold connections: %w", err)
		}
	}
	return f, nil
}

func (f *fleet) start(program string, cfg holdConfig) error {
	c := &child{cmd: exec.Command(program, holdCommand), done: make(chan struct{})}
	c.cmd.Stderr = os.Stderr
	// Interrupts go to the parent, which ends its children in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	if cfg.First > 0 {
		// A storm blows from elsewhere: here it takes what CPU others leave.
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, c.cmd.Process.Pid, 19)
	}
	c.stdin, c.orders = stdin, gob.NewEncoder(stdin)
	f.children = append(f.children, c)
	go f.listen(c, gob.NewDecoder(stdout))
	return c.orders.Encode(cfg)
}

// listen keeps what c says until it says nothing more.
func (f *fleet) listen(c *child, statuses *gob.Decoder) {
	defer close(c.done)
	for {
		var s status
		err := statuses.Decode(&s)
		f.mu.Lock()
		if err != nil {
			c.err = errors.New("a process that holds connections ended")
		} else {
			c.tally = s.Tally
		}
		if s.Result != nil {
			c.result = s.Result
		}
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// stop ends all children and waits for them.
func (f *fleet) stop() {
	for _, c := range f.children {
		_ = c.stdin.Close()
	}
	for _, c := range f.children {
		<-c.done
		_ = c.cmd.Wait()
	}
}

func (f *fleet) order(o order) error {
	for _, c := range f.children {
		if err := c.orders.Encode(o); err != nil {
			return fmt.Errorf("ordering a process that holds connections: %w", err)
		}
	}
	return nil
}

// tally adds up what the children said last.
func (f *fleet) tally() tally { return f.look().sum }

// sight is what the parent knows of its children at one moment.
type sight struct {
	sum     tally
	each    []tally
	results []*result
	err     error           // a child ended
	changed <-chan struct{} // closed when this is out of date
}

func (f *fleet) look() sight {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := sight{changed: f.changed}
	for _, c := range f.children {
		s.sum.add(c.tally)
		s.each = append(s.each, c.tally)
		s.err = errors.Join(s.err, c.err)
		if c.result != nil {
			s.results = append(s.results, c.result)
		}
	}
	return s
}

// wait returns when enough of what it sees, or with an error when ctx ends or a
// child does.
func (f *fleet) wait(ctx context.Context, enough func(sight) bool) error {
	for {
		s := f.look()
		if s.err != nil {
			return s.err
		}
		if enough(s) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.changed:
		}
	}
}

// settle returns when so many messages were delivered, or when for the time of
// patience there was no further one.
func (f *fleet) settle(ctx context.Context, deliveries uint64, patience time.Duration) error {
	for {
		seen := f.tally().Deliveries
		if seen >= deliveries {
			return nil
		}
		next, cancel := context.WithTimeout(ctx, patience)
		err := f.wait(next, func(s sight) bool { return s.sum.Deliveries > seen })
		cancel()
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// open makes the fleet hold n connections in all. It returns when each is open
// or given up, or with ctx's error.
func (f *fleet) open(ctx context.Context, n int) error {
	if err := f.order(order{Open: n}); err != nil {
		return err
	}
	return f.wait(ctx, func(s sight) bool { return s.sum.Open+s.sum.Failed+s.sum.Closed >= n })
}

// begin makes every child count the messages of run only.
func (f *fleet) begin(ctx context.Context, run uint32) error {
	if err := f.order(order{Run: run}); err != nil {
		return err
	}
	return f.wait(ctx, func(s sight) bool {
		for _, t := range s.each {
			if t.Run != run {
				return false
			}
		}
		return true
	})
}

// report collects and adds up what the children measured.
func (f *fleet) report(ctx context.Context) (sum result, err error) {
	f.mu.Lock()
	for _, c := range f.children {
		c.result = nil
	}
	f.mu.Unlock()
	if err := f.order(order{Report: true}); err != nil {
		return sum, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := f.wait(ctx, func(s sight) bool { return len(s.results) == len(f.children) }); err != nil {
		return sum, fmt.Errorf("collecting results: %w", err)
	}
	sum.Errors = errorCounts{}
	for _, r := range f.look().results {
		sum.add(r)
	}
	return sum, nil
}
