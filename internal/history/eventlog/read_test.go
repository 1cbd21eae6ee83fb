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
func TestReadChecksWhenItIsTime(t *testing.T) {
	l := New(time.Now, 1<<16)
	checks := 0
	found := make(chan struct{})
	unacked := func(int) (int, time.Time, error) {
		if checks++; checks < 3 {
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
	if err != nil || len(p.Events) != 1 || checks != 3 {
		t.Errorf("%d events after %d checks, %v", len(p.Events), checks, err)
	}
}

// A read ends in time, whatever happens while it checks.
func TestReadEnds(t *testing.T) {
	l := New(time.Now, 1000)
	if _, err := l.Read(t.Context(), watch.Query{Kinds: watch.Acked, Limit: 1}, nil); err != nil {
		t.Fatal(err)
	}
	checks := 0
	unacked := func(int) (int, time.Time, error) {
		checks++
		l.Record(watch.Event{Kind: watch.Acked, User: "ann"})
		return 0, time.Time{}, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, wait := range []time.Duration{0, 20 * time.Millisecond} {
		checks = 0
		p, err := l.Read(ctx, reader(t, l, wait), unacked)
		if err != nil || len(p.Events) != 0 {
			t.Errorf("%d events, %v", len(p.Events), err)
		}
		if checks > 1 {
			t.Errorf("%d checks in %v", checks, wait)
		}
	}
}

// A reader that has waited for long enough does not wait for a slow check as well.
func TestReadDoesNotWaitForACheck(t *testing.T) {
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

// TestPositionOfAnotherLog: two logs number their events alike, and a reader that
// comes from the one to the other has lost some.
func TestPositionOfAnotherLog(t *testing.T) {
	q := watch.Query{Kinds: watch.Acked, Limit: 10}
	var next [2]watch.Position
	var logs [2]*Log
	for i := range logs {
		logs[i] = New(time.Now, 1000)
		if _, err := logs[i].Read(t.Context(), q, nil); err != nil {
			t.Fatal(err)
		}
		logs[i].Record(watch.Event{Kind: watch.Acked, User: "ann"})
		p, err := logs[i].Read(t.Context(), q, nil)
		if err != nil {
			t.Fatal(err)
		}
		next[i] = p.Next
	}
	for i, l := range logs {
		for j, at := range next {
			q.After = at
			p, err := l.Read(t.Context(), q, nil)
			if want := i != j; err != nil || p.Lost != want || len(p.Events) != 0 && !want {
				t.Errorf("log %d after a position of log %d: %d events, lost: %v, %v", i, j, len(p.Events), p.Lost, err)
			}
		}
	}
}
