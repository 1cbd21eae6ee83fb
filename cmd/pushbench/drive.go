//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// maxFailures is how many calls of one caller may fail in a row before a run is
// given up: what fails that often measures nothing.
const maxFailures = 100

// load says how much is sent.
type load struct {
	rate     float64 // messages a second; 0: as fast as callers can
	callers  int
	messages int           // at most; 0: no limit
	duration time.Duration // at most
	wait     time.Duration // how long to wait for what is late, after the duration
	size     int           // bytes of data
	data     []byte        // a JSON value to send; nil: letters
	// outstanding is how many deliveries may be under way before further
	// messages wait, without a rate; 0: no limit.
	outstanding int
}

// drive sends the messages of one run.
type drive struct {
	load      load
	plan      *plan
	run       uint32
	clock     clock
	publisher func() (publisher, error)
	fleet     *fleet
	// stop, when closed, ends the run; nil: it has its time.
	stop <-chan struct{}

	// Messages that the server took, calls that failed, and deliveries to be
	// expected so far.
	sent, failed, expected atomic.Int64
}

// driven is what became of a run on the sending side.
type driven struct {
	start, end int64 // when the first message could be sent, and when the last call returned
	calls      uint32
	unsent     int64           // messages that were due and not sent when time was up
	failed     map[uint32]bool // calls that failed, by message
	errors     errorCounts
	// call: from when a message was due until the server answered; late: until
	// pushbench sent it.
	call, late histogram
}

func newDriven() *driven {
	return &driven{failed: map[uint32]bool{}, errors: errorCounts{}}
}

func (d *driven) add(o *driven) {
	d.calls += o.calls
	d.call.add(&o.call)
	d.late.add(&o.late)
	for seq := range o.failed {
		d.failed[seq] = true
	}
	d.errors.add(o.errors)
}

// send makes all calls of the run and returns when they are answered.
func (d *drive) send(ctx context.Context) (*driven, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := newDriven()
	out.start = d.clock.now()
	queue, planned, pacing := d.queue(ctx, out.start)

	var mu sync.Mutex // guards out
	var callers sync.WaitGroup
	for range d.load.callers {
		callers.Go(func() {
			one, err := d.caller(ctx, queue)
			if err != nil {
				cancel(err)
			}
			mu.Lock()
			defer mu.Unlock()
			out.add(one)
		})
	}
	callers.Wait()
	out.end = d.clock.now()
	if d.stop == nil {
		out.unsent = max(0, planned-int64(out.calls))
	}
	err := context.Cause(ctx)
	cancel(nil)
	return out, errors.Join(err, <-pacing)
}

// queue returns where callers get their tickets, and with a rate how many there
// are. pacing gives what became of the pacer, which ends with ctx at the latest.
func (d *drive) queue(ctx context.Context, start int64) (queue tickets, planned int64, pacing <-chan error) {
	done := make(chan error, 1)
	most := int64(maxSeq)
	if d.load.messages > 0 {
		most = min(most, int64(d.load.messages))
	}
	if d.load.rate == 0 {
		done <- nil
		return &flatOut{drive: d, until: start + int64(d.load.duration), messages: most}, 0, done
	}
	planned = min(most, max(1, int64(math.Ceil(d.load.rate*d.load.duration.Seconds()))))
	p := &paced{clock: d.clock, start: start, rate: d.load.rate, messages: planned, due: make(chan ticket, 1024)}
	ctx, cancel := context.WithTimeout(ctx, d.load.duration+d.load.wait)
	go func() {
		defer cancel()
		done <- p.pace(ctx.Done())
	}()
	if d.stop != nil {
		go func() {
			defer cancel()
			select {
			case <-d.stop:
			case <-ctx.Done():
			}
		}()
	}
	return p, planned, done
}

// caller sends one message after the other until there are no more. It returns
// an error if it gave up.
func (d *drive) caller(ctx context.Context, queue tickets) (*driven, error) {
	out := newDriven()
	p, err := d.publisher()
	if err != nil {
		return out, err
	}
	defer p.close()
	data := newData(d.load.size, d.load.data)
	for row := 0; ctx.Err() == nil; {
		t, ok := queue.next(ctx)
		if !ok {
			break
		}
		m := d.plan.message(t.seq)
		stamp{run: d.run, seq: t.seq, due: t.due}.put(data)
		out.late.record(time.Duration(d.clock.now() - t.due))
		err := p.publish(ctx, m, data)
		out.call.record(time.Duration(d.clock.now() - t.due))
		out.calls++
		if err == nil {
			row = 0
			d.sent.Add(1)
			d.expected.Add(int64(d.plan.deliveries(m)))
			continue
		}
		d.failed.Add(1)
		out.failed[t.seq] = true
		out.errors.note(err)
		if row++; row == maxFailures {
			return out, fmt.Errorf("giving up after %d failed calls in a row: %w", row, err)
		}
	}
	return out, nil
}
