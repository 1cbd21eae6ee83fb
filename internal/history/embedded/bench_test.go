package embedded

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// benchStore opens a store for a benchmark, on a real disk.
func benchStore(b *testing.B, sync Sync) *Store {
	b.Helper()
	s, err := Open(Config{Dir: b.TempDir(), Sync: sync})
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
	for _, sync := range []Sync{SyncAlways, SyncInterval, SyncNever} {
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

// fromCallers runs op b.N times from some goroutines.
func fromCallers(b *testing.B, callers int, op func(i int64)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	began := cpuTime()
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				op(i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-began).Nanoseconds())/float64(b.N), "cpu-ns/op")
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
	db, err := pebble.Open(b.TempDir(), &pebble.Options{MemTableSize: 8 << 20, CacheSize: 64 << 20, Logger: Quiet{}})
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

func BenchmarkBroadcast(b *testing.B) {
	for _, sync := range []Sync{SyncAlways, SyncNever} {
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
	s := benchStore(b, SyncAlways)
	data := bytes.Repeat([]byte("x"), 1024)
	began := cpuTime()
	for b.Loop() {
		if _, err := s.Append(b.Context(), history.Push{Kind: history.Multicast, Users: users, Data: data}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime()-began).Nanoseconds())/float64(b.N)/10000, "cpu-ns/user")
}

// BenchmarkPresence attaches and detaches one of a million users; B/user is
// what each of the million takes.
func BenchmarkPresence(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p := newPresence()
	users := 0
	for ; users < 1_000_000; users++ {
		p.add(strconv.Itoa(users))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		p.add("somebody")
		p.remove("somebody")
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(users), "B/user")
}
