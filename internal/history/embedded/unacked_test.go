package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/history/historytest"
	"pushd.example/internal/history/watch"
)

// overdue is a store with a clock of its own, and a reader of who has not acked.
type overdue struct {
	*testing.T
	clock *historytest.Clock
	conf  embedded.Config
	store *embedded.Store
	at    watch.Position
	found map[string]int // how often each user came
}

func newOverdue(t *testing.T, c embedded.Config) *overdue {
	o := &overdue{T: t, clock: historytest.NewClock(), conf: c, found: map[string]int{}}
	o.conf.Dir, o.conf.Now = t.TempDir(), o.clock.Now
	o.open()
	return o
}

func (o *overdue) open() {
	o.Helper()
	o.store, o.at = mustOpen(o.T, o.conf), watch.Position{}
	o.read(1)
}

func (o *overdue) reopen() {
	o.Helper()
	if err := o.store.Close(); err != nil {
		o.Fatal(err)
	}
	o.open()
}

// ask sends to some users, from user 0 on, who have a minute.
func (o *overdue) ask(users int) history.ID {
	o.Helper()
	p := history.Push{Kind: history.Multicast, UnackedAfter: time.Minute}
	for i := range users {
		p.Users = append(p.Users, fmt.Sprint("user-", i))
	}
	o.clock.Advance(time.Millisecond)
	r, err := o.store.Append(o.Context(), p)
	if err != nil {
		o.Fatal(err)
	}
	return r.ID
}

// read reads one page, and returns how many events it has.
func (o *overdue) read(limit int) int {
	o.Helper()
	p, err := o.store.ReadEvents(o.Context(), watch.Query{Kinds: watch.Unacked, After: o.at, Limit: limit})
	if err != nil || p.Lost {
		o.Fatalf("lost: %v, %v", p.Lost, err)
	}
	o.at = p.Next
	for _, e := range p.Events {
		o.found[e.User]++
	}
	return len(p.Events)
}

// rest reads on to the end.
func (o *overdue) rest() {
	o.Helper()
	for o.read(100) > 0 {
	}
}

// want checks that so many users were found once each, and that nothing is left.
func (o *overdue) want(users int) {
	o.Helper()
	for user, n := range o.found {
		if n != 1 {
			o.Errorf("%s came %d times", user, n)
		}
	}
	if len(o.found) != users {
		o.Errorf("%d users came, want %d", len(o.found), users)
	}
	clear(o.found)
	o.wantLines(0)
}

func (o *overdue) wantLines(want int) {
	o.Helper()
	if n, err := embedded.Keys(o.store, 'd'); err != nil || n != want {
		o.Errorf("the schedule has %d lines, %v; want %d", n, err, want)
	}
}

// TestUnackedGoesOnWhereItWas opens the store again in the middle of a multicast
// that is large enough to be prepared.
func TestUnackedGoesOnWhereItWas(t *testing.T) {
	const users = 3000
	o := newOverdue(t, embedded.Config{})
	id := o.ask(users)
	if _, err := o.store.Ack(t.Context(), "user-2999", history.Cursor{Inbox: id}, ""); err != nil {
		t.Fatal(err)
	}
	o.clock.Advance(time.Minute)
	for range 5 {
		for range 3 {
			if n := o.read(97); n != 97 {
				t.Errorf("a page of %d", n)
			}
		}
		o.wantLines(1)
		o.reopen()
	}
	o.rest()
	o.want(users - 1)
}

// TestUnackedReaderMayLeave ends the context of a reader that waits behind a slow
// disk: what it found is there, once.
func TestUnackedReaderMayLeave(t *testing.T) {
	disk := newSlowDisk(logSync)
	o := newOverdue(t, embedded.Config{FS: disk.fs()})
	o.ask(50)
	o.clock.Advance(time.Minute)
	letGo := disk.hold()
	defer letGo(nil)
	appended := make(chan error, 1)
	go func() {
		_, err := o.store.Append(t.Context(), history.Push{Kind: history.Unicast, Users: []string{"bob"}})
		appended <- err
	}()
	awaited(t, "sync", disk.waiting)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	q := watch.Query{Kinds: watch.Unacked, After: o.at, Limit: 10}
	go func() {
		_, err := o.store.ReadEvents(ctx, q)
		left <- err
	}()
	awaited(t, "queued change", embedded.Queued(o.store))
	cancel()
	if err := awaited(t, "error", left); !errors.Is(err, context.Canceled) {
		t.Errorf("read with %v", err)
	}
	if n := o.read(100); n != 10 {
		t.Errorf("%d events, want the 10 that were found", n)
	}
	letGo(nil)
	if err := awaited(t, "append", appended); err != nil {
		t.Fatal(err)
	}
	o.rest()
	o.want(50)
}

// TestUnackedOnABrokenDisk: what was found and could not be struck off comes once
// more, when the store is opened again, and not before.
func TestUnackedOnABrokenDisk(t *testing.T) {
	d := injected("", syscall.EIO, ".log", errorfs.OpFileWrite)
	fs, strike := d.fs()
	o := newOverdue(t, embedded.Config{FS: fs})
	o.ask(50)
	o.clock.Advance(time.Minute)
	for _, want := range []int{20, 20, 0, 0} {
		if n := o.read(20); n != want {
			t.Errorf("%d events, want %d", n, want)
		}
		strike(true)
	}
	if err := o.store.Ready(); !errors.Is(err, history.ErrReadOnly) {
		t.Errorf("Ready says %v, want ErrReadOnly", err)
	}
	for user, n := range o.found {
		if n != 1 {
			t.Errorf("%s came %d times", user, n)
		}
	}
	clear(o.found)
	if err := o.store.Close(); !errors.Is(err, history.ErrReadOnly) {
		t.Errorf("closed with %v", err)
	}
	o.conf.FS = nil
	o.open()
	o.rest()
	o.want(30)
}

// TestUnackedNeedsVisible has a push be due before its sync is done.
func TestUnackedNeedsVisible(t *testing.T) {
	disk := newSlowDisk(logSync)
	o := newOverdue(t, embedded.Config{FS: disk.fs()})
	push := history.Push{Kind: history.Unicast, Users: []string{"user-0"}}
	letGo := disk.hold()
	defer letGo(nil)
	asked := make(chan history.ID, 1)
	go func() {
		o.clock.Advance(time.Millisecond)
		push.UnackedAfter = time.Minute
		r, err := o.store.Append(t.Context(), push)
		if err != nil {
			t.Error(err)
		}
		asked <- r.ID
	}()
	awaited(t, "sync", disk.waiting)
	for n := 0; n == 0; time.Sleep(time.Millisecond) { // Pebble shows it about then
		var err error
		if n, err = embedded.Keys(o.store, 'd'); err != nil {
			t.Fatal(err)
		}
	}
	o.clock.Advance(time.Hour)
	if n := o.read(10); n != 0 {
		t.Errorf("%d events of what nobody can see", n)
	}
	letGo(nil)
	awaited(t, "append", asked)
	o.rest()
	o.want(1)
}

// TestUnackedWithAClockSetBack asks for what is due before what was found last.
func TestUnackedWithAClockSetBack(t *testing.T) {
	o := newOverdue(t, embedded.Config{})
	for range 3 {
		o.ask(1)
		o.clock.Advance(time.Hour)
		o.rest()
		o.want(1)
		o.clock.Advance(-30 * time.Minute)
	}
}

// TestUnackedIsForgotten looks at what is on the disk of what nobody watched.
func TestUnackedIsForgotten(t *testing.T) {
	o := newOverdue(t, embedded.Config{Retention: history.Retention{InboxAge: time.Hour}})
	o.ask(3)
	o.clock.Advance(time.Hour + time.Minute) // too old to be shown, too young to be taken off
	for _, want := range []int{1, 0} {
		if err := embedded.Maintain(o.store); err != nil {
			t.Fatal(err)
		}
		o.wantLines(want)
		o.clock.Advance(time.Hour)
	}
	o.rest()
	o.want(0)
}

// TestUnackedIsNoLaterThanAcks acks while it is looked who has not: nobody is said
// not to have acked after it was said that they had.
func TestUnackedIsNoLaterThanAcks(t *testing.T) {
	const users, acks = 1024, 40
	for range 10 {
		o := newOverdue(t, embedded.Config{Sync: embedded.SyncInterval})
		q := watch.Query{Kinds: watch.Unacked | watch.Acked, Limit: 2 * users, After: o.at}
		if _, err := o.store.ReadEvents(t.Context(), watch.Query{Kinds: watch.Acked, Limit: 1}); err != nil {
			t.Fatal(err) // from now on acks are recorded
		}
		id := o.ask(users)
		o.clock.Advance(time.Minute)
		var acking sync.WaitGroup
		acking.Go(func() {
			for i := range acks {
				if _, err := o.store.Ack(t.Context(), fmt.Sprint("user-", i), history.Cursor{Inbox: id}, ""); err != nil {
					t.Error(err)
				}
			}
		})
		acked := map[string]bool{}
		for seen := 0; seen < users; {
			p, err := o.store.ReadEvents(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			q.After = p.Next
			for _, e := range p.Events {
				if e.Kind == watch.Unacked && acked[e.User] {
					t.Errorf("%s has not acked, after it has", e.User)
				}
				if e.Kind == watch.Acked && !acked[e.User] {
					acked[e.User] = true
				}
				o.found[e.User]++
			}
			seen = len(o.found)
		}
		acking.Wait()
	}
}

// TestOtherEventsDoNotWaitForTheDisk holds up what was found out from being stored.
func TestOtherEventsDoNotWaitForTheDisk(t *testing.T) {
	disk := newSlowDisk(logSync)
	o := newOverdue(t, embedded.Config{FS: disk.fs()})
	q := watch.Query{Kinds: watch.AllKinds, Limit: 10}
	p, err := o.store.ReadEvents(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	q.After, q.Wait = p.Next, time.Hour
	id := o.ask(1)
	if _, err := o.store.Ack(t.Context(), "user-0", history.Cursor{Inbox: id}, ""); err != nil {
		t.Fatal(err)
	}
	if p, err = o.store.ReadEvents(t.Context(), q); err != nil || len(p.Events) != 1 {
		t.Fatalf("%d events, %v; want the ack", len(p.Events), err)
	}
	q.After = p.Next
	o.clock.Advance(time.Minute)
	letGo := disk.hold()
	defer letGo(nil)
	pages := make(chan watch.Page, 1)
	go func() {
		p, _ := o.store.ReadEvents(t.Context(), q)
		pages <- p
	}()
	awaited(t, "sync", disk.waiting) // the line is struck off
	if _, err := o.store.Attach(t.Context(), "ann", history.Start{}); err != nil {
		t.Fatal(err)
	}
	if p := awaited(t, "page", pages); len(p.Events) != 1 || p.Events[0].Kind != watch.Connected {
		t.Errorf("events %v", p.Events)
	}
	letGo(nil)
}
