package embedded_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"

	"pushd/internal/history"
	"pushd/internal/history/embedded"
)

// benchStore opens a store for a benchmark, on a real disk.
func benchStore(b *testing.B, sync embedded.Sync) *embedded.Store {
	b.Helper()
	s, err := embedded.Open(embedded.Config{Dir: b.TempDir(), Sync: sync})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

var body200 = bytes.Repeat([]byte("x"), 200)

// BenchmarkAppend is unicasts of 200 bytes to 10,000 users.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []embedded.Sync{embedded.SyncAlways, embedded.SyncInterval, embedded.SyncNever} {
		for _, callers := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("%v/callers=%d", sync, callers), func(b *testing.B) {
				s := benchStore(b, sync)
				b.ReportAllocs()
				fromCallers(b, callers, func(i int64) {
					unicast(b, s, fmt.Sprintf("user-%d", i*7919%10000), body200)
				})
			})
		}
	}
}

// cpu returns the processor time that the process has taken: on a machine that
// others use too it says more than the clock does.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fromCallers runs op b.N times from some goroutines.
func fromCallers(b *testing.B, callers int, op func(i int64)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	began := cpu()
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				op(i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu()-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

func unicast(b testing.TB, s history.Store, user string, data []byte) {
	_, err := s.Append(context.Background(), history.Push{Kind: history.Unicast, Users: []string{user}, Data: data})
	if err != nil {
		b.Error(err)
	}
}

// BenchmarkFloor is the least that the same rows can cost: the entry and the
// user's meta, read, set and committed by each caller in a batch of its own
// under one lock, with Pebble's defaults for the rest.
func BenchmarkFloor(b *testing.B) {
	for _, sync := range []*pebble.WriteOptions{pebble.Sync, pebble.NoSync} {
		for _, callers := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("sync=%v/callers=%d", sync.Sync, callers), func(b *testing.B) {
				benchFloor(b, sync, callers)
			})
		}
	}
}

func benchFloor(b *testing.B, w *pebble.WriteOptions, callers int) {
	db, err := pebble.Open(b.TempDir(), &pebble.Options{MemTableSize: 8 << 20, CacheSize: 64 << 20, Logger: quiet{}})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var mu sync.Mutex
	meta := make([]byte, 30)
	fromCallers(b, callers, func(i int64) {
		batch := db.NewBatch()
		user := fmt.Sprintf("user-%d", i*7919%10000)
		mu.Lock()
		if _, closer, err := db.Get([]byte("u" + user)); err == nil {
			closer.Close()
		}
		_ = batch.Set(fmt.Appendf(nil, "i%s\x00%08d", user, i), body200, nil)
		_ = batch.Set([]byte("u"+user), meta, nil)
		var err error
		if w.Sync {
			err = db.ApplyNoSyncWait(batch, w)
		} else {
			err = db.Apply(batch, w)
		}
		mu.Unlock()
		if w.Sync && err == nil {
			err = batch.SyncWait()
		}
		if err != nil {
			b.Error(err)
		}
		batch.Close()
	})
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}

func BenchmarkBroadcast(b *testing.B) {
	for _, sync := range []embedded.Sync{embedded.SyncAlways, embedded.SyncNever} {
		b.Run(sync.String(), func(b *testing.B) {
			s := benchStore(b, sync)
			for b.Loop() {
				if _, err := s.Append(b.Context(), history.Push{Kind: history.Broadcast, Data: body200}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMulticast is 1 KiB to 10,000 users.
func BenchmarkMulticast(b *testing.B) {
	users := make([]string, 10000)
	for i := range users {
		users[i] = fmt.Sprintf("user-%d", i)
	}
	s := benchStore(b, embedded.SyncAlways)
	data := bytes.Repeat([]byte("x"), 1024)
	for b.Loop() {
		if _, err := s.Append(b.Context(), history.Push{Kind: history.Multicast, Users: users, Data: data}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10000, "ns/user")
}

// fill keeps a million entries: 1,000 users with 1,000 each, of which every
// tenth is a ref; and broadcasts.
func fill(b *testing.B, s history.Store) {
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := w; i < 1000*1000; i += 64 {
				unicast(b, s, fmt.Sprintf("user-%d", i%1000), body200)
			}
		})
	}
	wg.Wait()
	for range 1000 {
		if _, err := s.Append(b.Context(), history.Push{Kind: history.Broadcast, Data: body200}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMillion is what readers do while a million entries are kept.
func BenchmarkMillion(b *testing.B) {
	s := benchStore(b, embedded.SyncNever)
	fill(b, s)
	pages := []struct {
		name string
		q    history.Query
	}{
		{"newest", history.Query{Limit: 50}},
		{"oldest", history.Query{Direction: history.Forward, Limit: 50}},
	}
	for _, p := range pages {
		b.Run("page/"+p.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				got, err := s.Page(b.Context(), fmt.Sprintf("user-%d", i*7919%1000), p.q)
				if err != nil || len(got.Messages) != 50 {
					b.Fatal(len(got.Messages), err)
				}
			}
		})
	}
	starts := []struct {
		name, user string
		start      history.Start
	}{
		{"unknown/now", "stranger-%d", history.Start{}},
		{"unknown/unread", "stranger-%d", history.Start{At: history.StartUnread, Limit: 50}},
		{"known/now", "user-%d", history.Start{}},
	}
	for _, a := range starts {
		b.Run("attach/"+a.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := s.Attach(b.Context(), fmt.Sprintf(a.user, i*7919%1000), a.start); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
