package receipts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pushd.example/internal/conn/feed"
	"pushd.example/internal/history"
)

// crowd has readers; what of them the kernel has taken is set by the test.
type crowd struct {
	readers map[Key]*feed.Reader
	taken   map[Key]bool
}

func (c *crowd) Reader(key Key) (*feed.Reader, bool) { return c.readers[key], c.taken[key] }
func (c *crowd) User(key Key) string                 { return fmt.Sprint("user", key) }

func newCrowd(n int) *crowd {
	c := &crowd{map[Key]*feed.Reader{}, map[Key]bool{}}
	for key := Key(1); key <= Key(n); key++ {
		c.readers[key] = &feed.Reader{}
		c.readers[key].Begin(history.Cursor{})
		c.readers[key].Next()
	}
	return c
}

// send offers a reader a message and does what a shard does.
func (l *Ledger) send(c *crowd, key Key, d feed.Delivery, excluded bool) {
	r := c.readers[key]
	action, ended := r.Offer(d, excluded)
	l.Hold(key, r, ended)
	if action == feed.Send {
		l.Sent(key, r, time.Now())
		c.taken[key] = false
	}
}

// Each message is reported once for each reader that has taken it, and for no
// other, whoever ends and is excluded meanwhile.
func TestLedgerAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const readers = 4
		c := newCrowd(readers)
		l := NewLedger(c, false)
		sent := map[Key][]feed.Delivery{}               // not taken yet
		want, got := map[string]int{}, map[string]int{} // "user id", or "id" of a broadcast
		var ids [2][]history.ID
		take := func(key Key) {
			for _, d := range sent[key] {
				if d.Log == feed.Broadcasts {
					want[fmt.Sprint(d.First)]++
				} else {
					want[fmt.Sprint(c.User(key), " ", d.First)]++
				}
			}
			sent[key], c.taken[key] = nil, true
		}
		last := history.ID(0)
		next := func(log feed.Log) feed.Delivery {
			d := feed.Delivery{Log: log}
			if n := len(ids[log]); n > 0 {
				d.Prev = ids[log][n-1]
			}
			last += 2
			ids[log] = append(ids[log], last)
			d.First, d.Last = last, last
			return d
		}
		collect := func() {
			for more := true; more; {
				var d history.Deliveries
				d, more = l.Collect(time.Now(), history.MaxID)
				for _, u := range d.Inboxes {
					for _, id := range ids[feed.Inbox] {
						if u.From < id && id <= u.To {
							got[fmt.Sprint(u.User, " ", id)]++
						}
					}
				}
				for id, n := range d.Broadcasts {
					got[fmt.Sprint(id)] += n
				}
			}
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			key := Key(rapid.IntRange(1, readers).Draw(t, "reader"))
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1: // everybody, but perhaps one
				log := rapid.SampledFrom([]feed.Log{feed.Inbox, feed.Broadcasts}).Draw(t, "log")
				d := next(log)
				if log == feed.Broadcasts {
					l.Broadcast(d.First)
				}
				out := rapid.Bool().Draw(t, "excluded")
				for other := range c.readers {
					excluded := out && other == key
					l.send(c, other, d, excluded)
					if !excluded {
						sent[other] = append(sent[other], d)
					}
				}
			case 2:
				if c.readers[key] != nil {
					take(key)
				}
			case 3:
				collect()
			case 4:
				if r := c.readers[key]; r != nil {
					l.Taken(key, r)
				}
			case 5:
				// For a reader that had not taken all, nothing would count.
				if r := c.readers[key]; r != nil && c.taken[key] && rapid.IntRange(0, 9).Draw(t, "end") == 0 {
					l.End(key, r, true)
					delete(c.readers, key)
				}
			}
		}
		for key := range c.readers {
			take(key)
		}
		collect()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("reported %v, want %v", got, want)
		}
		if l.Unreported() || l.Dropped() > 0 || len(l.held) > 0 {
			t.Fatalf("left: %+v", l)
		}
	})
}

// Runs that a reader does not take are held up to a bound. Runs beyond it are
// dropped, and the next collection says so once.
func TestHeldRunsAreBounded(t *testing.T) {
	c := newCrowd(1)
	l := NewLedger(c, false)
	id := history.ID(0)
	for range maxHeld + 10 {
		l.send(c, 1, feed.Delivery{Prev: id, First: id + 1, Last: id + 1}, false)
		l.send(c, 1, feed.Delivery{Prev: id + 1, First: id + 2, Last: id + 2}, true)
		id += 2
	}
	if l.Dropped() != 10 || len(l.held[1]) != maxHeld {
		t.Errorf("%d dropped, %d held; want 10 and %d", l.Dropped(), len(l.held[1]), maxHeld)
	}
	for _, want := range []bool{true, false} {
		if d, _ := l.Collect(time.Now(), history.MaxID); d.Missed != want || len(d.Inboxes) > 0 {
			t.Errorf("collected %+v, want Missed %v", d, want)
		}
	}
	// If the kernel has taken all, there is room again.
	c.taken[1] = true
	l.Hold(1, c.readers[1], feed.Run{From: 1, To: 2})
	if d, _ := l.Collect(time.Now(), history.MaxID); l.Dropped() != 10 || len(d.Inboxes) != maxHeld+1 {
		t.Errorf("%d dropped, %d ranges", l.Dropped(), len(d.Inboxes))
	}
}

// A ledger that nobody wants to know of gathers nothing.
func TestLedgerOff(t *testing.T) {
	c := newCrowd(1)
	l := NewLedger(c, true)
	l.Broadcast(1)
	l.send(c, 1, feed.Delivery{First: 1, Last: 1}, false)
	l.send(c, 1, feed.Delivery{Prev: 1, First: 2, Last: 2}, true)
	c.taken[1] = true
	d, more := l.Collect(time.Now(), history.MaxID)
	if more || l.Unreported() || len(d.Inboxes)+len(d.Broadcasts) > 0 {
		t.Errorf("collected %+v", d)
	}
}

// broken is a store that takes nothing for a while.
type broken struct {
	err  error
	told []history.Deliveries
}

func (b *broken) RecordDelivered(_ context.Context, d history.Deliveries) error {
	b.told = append(b.told, d)
	return b.err
}

// After a failure the next report says that something is missing.
func TestReportAfterAFailure(t *testing.T) {
	store := &broken{err: errors.New("disk full")}
	r := Reporter{Store: store, Timeout: time.Second, Log: slog.New(slog.DiscardHandler)}
	one := history.Deliveries{Inboxes: []history.UserRange{{User: "a", Range: history.Range{To: 1}}}, Broadcasts: map[history.ID]int{2: 1}}
	r.Add(one)
	r.Report(t.Context())
	r.Report(t.Context()) // nothing to say
	if r.Dropped() != 2 {
		t.Errorf("%d dropped, want 2", r.Dropped())
	}
	store.err = nil
	for range 2 {
		r.Add(one)
		r.Report(t.Context())
	}
	var missed []bool
	for _, d := range store.told {
		missed = append(missed, d.Missed)
	}
	if want := []bool{false, true, false}; !slices.Equal(missed, want) {
		t.Errorf("reports said missed: %v, want %v", missed, want)
	}
}

// A subscription's owner reports what it has dealt with, in one range as long as
// nothing lies between.
func TestSentOfASubscription(t *testing.T) {
	var s Sent
	var r feed.Reader
	r.Begin(history.Cursor{})
	r.Next()
	offer := func(id history.ID, excluded bool) {
		_, ended := r.Offer(feed.Delivery{Prev: id - 1, First: id, Last: id}, excluded)
		s.Hold(ended)
	}
	offer(1, false)
	handed := r.At()
	s.HandOut([]history.Message{{ID: 1, Kind: history.Unicast}, {ID: 9, Kind: history.Broadcast}})
	offer(2, false)
	offer(3, true)
	offer(4, false)
	s.Taken("a", &r, handed, time.Now())
	d := s.Collect()
	if len(d.Inboxes) != 1 || d.Inboxes[0].From != 0 || d.Inboxes[0].To != 1 || d.Broadcasts[9] != 1 {
		t.Errorf("reported %+v", d)
	}
	s.Taken("a", &r, r.At(), time.Now())
	var got []string
	for _, u := range s.Collect().Inboxes {
		got = append(got, fmt.Sprint(u.From, u.To))
	}
	if want := []string{"1 2", "3 4"}; !slices.Equal(got, want) {
		t.Errorf("reported %v", got)
	}
}
