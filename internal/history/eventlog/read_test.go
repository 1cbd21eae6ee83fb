package eventlog

import (
	"context"
	"testing"
	"time"

	"pushd.example/internal/history/watch"
)

// reader begins to read who has not acked.
func reader(t *testing.T, l *Log, wait time.Duration) watch.Query {
	t.Helper()
	q := watch.Query{Kinds: watch.Unacked, Limit: 10}
	p, err := l.Read(t.Context(), q, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.After, q.Wait = p.Next, wait
	return q
}

// Pushes that are due are not searched for with every event of another kind.
func TestReadLooksWhenItIsTime(t *testing.T) {
	l := New(time.Now, 1<<16)
	looks := 0
	found := make(chan struct{})
	unacked := func(int) (int, time.Time, error) {
		if looks++; looks < 3 {
			return 0, time.Now().Add(100 * time.Millisecond), nil
		}
		l.RecordUnacked(1, "ann", func() bool { return true })
		return 1, time.Time{}, nil
	}
	if _, err := l.Read(t.Context(), watch.Query{Kinds: watch.Acked, Limit: 1}, nil); err != nil {
		t.Fatal(err)
	}
	q := reader(t, l, time.Minute)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-found:
				return
			case <-tick.C:
				l.Record(watch.Event{Kind: watch.Acked, User: "bob"})
			}
		}
	}()
	p, err := l.Read(t.Context(), q, unacked)
	close(found)
	if err != nil || len(p.Events) != 1 || looks != 3 {
		t.Errorf("%d events after %d looks, %v", len(p.Events), looks, err)
	}
}

// A read ends in time, whatever happens while it looks.
func TestReadEnds(t *testing.T) {
	l := New(time.Now, 1000)
	if _, err := l.Read(t.Context(), watch.Query{Kinds: watch.Acked, Limit: 1}, nil); err != nil {
		t.Fatal(err)
	}
	looks := 0
	unacked := func(int) (int, time.Time, error) {
		looks++
		l.Record(watch.Event{Kind: watch.Acked, User: "ann"})
		return 0, time.Time{}, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, wait := range []time.Duration{0, 20 * time.Millisecond} {
		looks = 0
		p, err := l.Read(ctx, reader(t, l, wait), unacked)
		if err != nil || len(p.Events) != 0 {
			t.Errorf("%d events, %v", len(p.Events), err)
		}
		if looks > 1 {
			t.Errorf("%d looks in %v", looks, wait)
		}
	}
}

// A reader that has waited for long enough does not wait for a slow check as well.
func TestReadDoesNotWaitForALook(t *testing.T) {
	l := New(time.Now, 1000)
	over := make(chan struct{})
	unacked := func(int) (int, time.Time, error) {
		<-over
		return 0, time.Time{}, nil
	}
	p, err := l.Read(t.Context(), reader(t, l, 10*time.Millisecond), unacked)
	close(over)
	if err != nil || len(p.Events) != 0 {
		t.Errorf("%d events, %v", len(p.Events), err)
	}
}
