package embedded

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pushd.example/internal/history"
)

// cpuTime returns the processor time that the process has taken: on a machine
// that others use too it says more than the clock does.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func appendAll(b *testing.B, s *Store, n int, push func(i int) history.Push) {
	var wg sync.WaitGroup
	const callers = 64
	for w := range callers {
		wg.Go(func() {
			for i := w; i < n; i += callers {
				if _, err := s.Append(context.Background(), push(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// settle waits until Pebble's compactions have come to rest.
func settle(s *Store) {
	if err := s.db.Flush(); err != nil {
		panic(err)
	}
	for quiet := 0; quiet < 10; quiet++ {
		if m := s.db.Metrics(); m.Compact.NumInProgress > 0 {
			quiet = 0
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// BenchmarkMillion is what readers do while a million entries of 200 bytes are
// kept, by 1,000 users, and 1,000 broadcasts.
func BenchmarkMillion(b *testing.B) {
	s, err := Open(Config{Dir: b.TempDir(), Sync: SyncNever})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	data := bytes.Repeat([]byte("x"), 200)
	appendAll(b, s, 1_000_000, func(i int) history.Push {
		return history.Push{Kind: history.Unicast, Users: []string{name(i)}, Data: data}
	})
	settle(s)
	measure(b, "floor/iterator", func(i int) { floorPage(b, s, name(i*7919)) })
	page := func(q history.Query) func(int) {
		return func(i int) {
			p, err := s.Page(b.Context(), name(i*7919), q)
			if err != nil || len(p.Messages) != q.Limit {
				b.Fatal(len(p.Messages), err)
			}
		}
	}
	measure(b, "page/newest", page(history.Query{Limit: 50}))
	measure(b, "page/oldest", page(history.Query{Direction: history.Forward, Limit: 50}))
	attach := func(user string, start history.Start) func(int) {
		return func(i int) {
			if _, err := s.Attach(b.Context(), fmt.Sprintf(user, i*7919%1000), start); err != nil {
				b.Fatal(err)
			}
		}
	}
	measure(b, "attach/known/now", attach("user-%d", history.Start{}))
	measure(b, "attach/unknown/now", attach("stranger-%d", history.Start{}))
	appendAll(b, s, 1000, func(int) history.Push { return history.Push{Kind: history.Broadcast, Data: data} })
	measure(b, "page/broadcasts", page(history.Query{Limit: 50}))
	measure(b, "attach/unknown/50broadcasts", attach("stranger-%d", history.Start{At: history.StartUnread, Limit: 50}))
	crowd := make([]string, 1000)
	for i := range crowd {
		crowd[i] = name(i)
	}
	appendAll(b, s, 60, func(int) history.Push {
		return history.Push{Kind: history.Multicast, Users: crowd, Data: data}
	})
	measure(b, "page/refs", page(history.Query{Limit: 50}))
}

func name(i int) string { return fmt.Sprintf("user-%d", i%1000) }

func measure(b *testing.B, name string, op func(i int)) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		began := cpuTime()
		i := 0
		for ; b.Loop(); i++ {
			op(i)
		}
		b.ReportMetric(float64((cpuTime()-began).Nanoseconds())/float64(i), "cpu-ns/op")
	})
}

// floorPage is the least that a page can cost: 50 entries copied from an
// iterator over one inbox.
func floorPage(b *testing.B, s *Store, user string) {
	it, err := newInboxIter(s.db, user, 0, history.MaxID)
	if err != nil {
		b.Fatal(err)
	}
	defer it.Close()
	n := 0
	for ok := it.First(); ok && n < 50; ok = it.Next() {
		_ = slices.Clone(it.Value())
		n++
	}
	if n != 50 {
		b.Fatal(n)
	}
}
