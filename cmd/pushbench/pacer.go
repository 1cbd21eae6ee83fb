//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ticket is the leave to send one message.
type ticket struct {
	seq uint32
	due int64
}

// tickets hands out the messages of a run, one by one, to many callers.
type tickets interface {
	// next blocks until the next message may go; ok is false when there are no
	// more.
	next(ctx context.Context) (t ticket, ok bool)
}

// flatOut lets callers send as soon as they can: a closed loop. Messages are
// due when they are taken, so that their latency is that of a busy server.
type flatOut struct {
	drive    *drive
	until    int64 // no message is taken from then on
	messages int64
	taken    atomic.Int64
	reserved atomic.Int64 // deliveries of the messages taken
	lost     atomic.Int64 // of these, the ones that nobody waits for any more
	givenUp  atomic.Int64 // how often some were
}

func (f *flatOut) next(ctx context.Context) (ticket, bool) {
	if f.drive.clock.now() >= f.until || f.taken.Load() >= f.messages {
		return ticket{}, false
	}
	select {
	case <-f.drive.stop:
		return ticket{}, false
	default:
	}
	n := f.taken.Add(1)
	if n > f.messages {
		return ticket{}, false
	}
	seq := uint32(n - 1)
	f.admit(ctx, int64(f.drive.plan.deliveries(f.drive.plan.message(seq))))
	return ticket{seq, f.drive.clock.now()}, true
}

// admit waits until there is room for more deliveries. A server may answer long
// before it has delivered; without a limit, what it can do would be found only
// by drowning it.
func (f *flatOut) admit(ctx context.Context, deliveries int64) {
	reserved := f.reserved.Add(deliveries)
	if f.drive.load.outstanding == 0 {
		return
	}
	most := max(int64(f.drive.load.outstanding), deliveries)
	before := uint64(max(0, reserved-most-f.lost.Load())) // so many must have arrived
	if f.drive.fleet.tally().Deliveries >= before {
		return
	}
	// Lost deliveries never arrive: after a second without any delivery, all that
	// are under way are given up, or their room would stay taken for ever.
	// A server that loses more is given less time.
	patience := max(time.Second>>min(f.givenUp.Load(), 30), 20*time.Millisecond)
	_ = f.drive.fleet.settle(ctx, before, patience)
	if arrived := f.drive.fleet.tally().Deliveries; arrived < before {
		f.givenUp.Add(1)
		f.lost.Store(reserved - deliveries - int64(arrived))
	}
}

// paced lets messages go at a fixed rate, whatever became of those before: an
// open loop. Message n is due at start + n/rate. If all callers are busy it is
// taken late, and its latency counts from when it was due; nothing that the
// server held up is left out.
type paced struct {
	clock    clock
	start    int64
	rate     float64
	messages int64
	due      chan ticket
}

// pace releases messages until all are released or stop is closed.
//
// The timer is a timerfd because the runtime's own wakes up to a millisecond
// late, and is set no finer than slack because it costs two system calls.
func (p *paced) pace(stop <-chan struct{}) error {
	const slack = int64(50 * time.Microsecond)
	defer close(p.due)
	timer, err := newTimer()
	if err != nil {
		return err
	}
	defer timer.Close()
	for n := int64(0); n < p.messages; n++ {
		due := p.dueAt(n)
		if now := p.clock.now(); due > now {
			if err := timer.sleepUntil(max(due, now+slack)); err != nil {
				return err
			}
		}
		select {
		case p.due <- ticket{uint32(n), due}:
		case <-stop:
			return nil
		}
	}
	return nil
}

func (p *paced) dueAt(n int64) int64 { return p.start + int64(float64(n)*1e9/p.rate) }

func (p *paced) next(context.Context) (ticket, bool) {
	t, ok := <-p.due
	return t, ok
}

// timer sleeps with the kernel's precision, without holding a thread.
type timer struct{ *os.File }

func newTimer() (timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return timer{}, fmt.Errorf("making a timer: %w", err)
	}
	return timer{os.NewFile(uintptr(fd), "timerfd")}, nil
}

func (t timer) sleepUntil(at int64) error {
	conn, err := t.SyscallConn()
	if err != nil {
		return err
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(at)}
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil)
	}); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("setting a timer: %w", failed)
	}
	var expirations [8]byte
	_, err = t.Read(expirations[:])
	return err
}
