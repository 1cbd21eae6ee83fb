//go:build linux

package main

import (
	"context"
	"sync"
	"testing"
	"time"

	"pushd.example/internal/testkit"
)

// However late tickets are taken, what they say stays on schedule.
func TestPacedTicketsKeepTheSchedule(t *testing.T) {
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	p := &paced{clock: c, start: c.now(), rate: 3000, messages: 300, due: make(chan ticket, 2)}
	failed := make(chan error, 1)
	go func() { failed <- p.pace(nil) }()
	for n := int64(0); n < 300; n++ {
		if n == 100 {
			time.Sleep(20 * time.Millisecond) // a caller that is held up
		}
		got, ok := p.next(context.Background())
		if want := p.start + n*1e9/3000; !ok || got.seq != uint32(n) || got.due < want-1 || got.due > want+1 {
			t.Fatalf("ticket %d: %+v, %v; want due %d", n, got, ok, want)
		}
		// One of the clocks compared here is ours, which may be some
		// microseconds late.
		if now := c.now(); now+int64(100*time.Microsecond) < got.due {
			t.Fatalf("ticket %d came %v too early", n, time.Duration(got.due-now))
		}
	}
	if _, ok := p.next(context.Background()); ok {
		t.Error("there are more than 300 tickets")
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

func TestPacerStopsWhenNobodyTakes(t *testing.T) {
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	p := &paced{clock: c, start: c.now(), rate: 1e6, messages: 1e9, due: make(chan ticket)}
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() { failed <- p.pace(stop) }()
	p.next(context.Background())
	close(stop)
	select {
	case err := <-failed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testkit.Patience):
		t.Fatal("it does not stop")
	}
}

func TestFlatOutHandsOutEachNumberOnce(t *testing.T) {
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := newPlan([kinds]int{1, 0, 0}, 1, holdConfig{Conns: 1, Users: 1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	f := &flatOut{drive: &drive{clock: c, plan: plan}, until: c.now() + int64(time.Hour), messages: 1000}
	var mu sync.Mutex
	seen := map[uint32]bool{}
	var takers sync.WaitGroup
	for range 8 {
		takers.Go(func() {
			for {
				got, ok := f.next(context.Background())
				if !ok {
					return
				}
				mu.Lock()
				if seen[got.seq] || got.seq >= 1000 {
					t.Errorf("number %d again, or too large", got.seq)
				}
				seen[got.seq] = true
				mu.Unlock()
			}
		})
	}
	takers.Wait()
	if len(seen) != 1000 {
		t.Errorf("%d numbers, want 1000", len(seen))
	}
	f = &flatOut{drive: f.drive, until: c.now() - 1, messages: 1000}
	if _, ok := f.next(context.Background()); ok {
		t.Error("a message is taken after the time is up")
	}
}
