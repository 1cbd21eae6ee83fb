package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
	"pushd.example/internal/history/historytest"
	"pushd.example/internal/history/redis"
	"pushd.example/internal/history/watch"
	"pushd.example/internal/redistest"
)

// The figures of docs/cluster.md come from here:
//
//	go test ./internal/history/redis -run - -bench . -benchtime 2s

// benchStores opens n nodes on a Redis of their own, which keeps nothing on
// disk: that has its own price.
func benchStores(b *testing.B, n int) (*redistest.Server, []*redis.Store) {
	b.Helper()
	server := redistest.Start(b, redistest.Options{})
	stores := make([]*redis.Store, n)
	for i := range stores {
		stores[i] = openStore(b, redis.Config{URL: server.URL(), Node: fmt.Sprint("n", i)})
	}
	return server, stores
}

func name(i int64) string { return fmt.Sprintf("user-%d", i*7919%10000) }

var body200 = bytes.Repeat([]byte("x"), 200)

// BenchmarkAppend is unicasts of 200 bytes to 10,000 users, who are connected
// nowhere, or to another node, which reads what it must deliver.
func BenchmarkAppend(b *testing.B) {
	for _, where := range []string{"offline", "online"} {
		for _, callers := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", where, callers), func(b *testing.B) {
				server, s := benchStores(b, 2)
				if where == "online" {
					attachAll(b, s[1])
				}
				fromCallers(b, server, callers, func(i int64) { unicast(b, s[0], name(i), body200) })
			})
		}
	}
}

func unicast(b testing.TB, s history.Store, user string, data []byte) {
	_, err := s.Append(context.Background(), history.Push{Kind: history.Unicast, Users: []string{user}, Data: data})
	if err != nil {
		b.Error(err)
	}
}

func attachAll(b *testing.B, s history.Store) {
	var wg sync.WaitGroup
	for c := range int64(100) {
		wg.Go(func() {
			for i := range int64(100) {
				connect(b, s, name(100*c+i))
			}
		})
	}
	wg.Wait()
}

func connect(b testing.TB, s history.Store, user string) {
	if _, err := s.Attach(context.Background(), user, history.Start{At: history.StartNow}); err != nil {
		b.Error(err)
	}
}

// BenchmarkAttach is connects, each with its cursor, and their ends, while
// nobody watches and while somebody does.
func BenchmarkAttach(b *testing.B) {
	for _, watched := range []bool{false, true} {
		b.Run(fmt.Sprintf("watched=%v", watched), func(b *testing.B) {
			server, s := benchStores(b, 1)
			if watched {
				if _, err := s[0].ReadEvents(b.Context(), watch.Query{Kinds: watch.Presence, Limit: 1}); err != nil {
					b.Fatal(err)
				}
			}
			fromCallers(b, server, 256, func(i int64) {
				connect(b, s[0], name(i))
				s[0].Detach(name(i))
			})
		})
	}
}

// BenchmarkPage is pages of 50 from inboxes of 1,000.
func BenchmarkPage(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			server, s := benchStores(b, 1)
			for range 1000 {
				multicast(b, s[0], 10, body200)
			}
			fromCallers(b, server, callers, func(i int64) {
				q := history.Query{Direction: history.Newest, Limit: 50}
				if p, err := s[0].Page(context.Background(), "u"+strconv.FormatInt(i%10, 10), q); err != nil || len(p.Messages) != 50 {
					b.Errorf("%d messages, %v", len(p.Messages), err)
				}
			})
		})
	}
}

// multicast sends to u0 to u(users-1).
func multicast(b testing.TB, s history.Store, users int, data []byte) {
	p := history.Push{Kind: history.Multicast, Data: data}
	for i := range users {
		p.Users = append(p.Users, "u"+strconv.Itoa(i))
	}
	if _, err := s.Append(context.Background(), p); err != nil {
		b.Error(err)
	}
}

// BenchmarkMulticast is multicasts of 1 KiB to 10,000 users who have inboxes.
func BenchmarkMulticast(b *testing.B) {
	const users = 10_000
	server, s := benchStores(b, 1)
	for range 10 {
		multicast(b, s[0], users, body200)
	}
	before := info(b, server, "used_memory_dataset")
	body := bytes.Repeat([]byte("x"), 1024)
	fromCallers(b, server, 1, func(int64) { multicast(b, s[0], users, body) })
	// Lists grow in steps: below some ten multicasts this says little.
	b.ReportMetric((info(b, server, "used_memory_dataset")-before)/float64(b.N)/users, "bytes/user")
}

// BenchmarkBroadcast is broadcasts, whoever has an inbox.
func BenchmarkBroadcast(b *testing.B) {
	for _, users := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			server, s := benchStores(b, 1)
			multicast(b, s[0], users, body200)
			fromCallers(b, server, 32, func(int64) {
				if _, err := s[0].Append(context.Background(), history.Push{Kind: history.Broadcast, Data: body200}); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkMemory asks Redis what an inbox takes, key and all.
func BenchmarkMemory(b *testing.B) {
	for _, entries := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			server, s := benchStores(b, 1)
			for b.Loop() {
				do(b, server, "FLUSHALL")
				s[0].Close()
				s[0] = openStore(b, redis.Config{URL: server.URL(), Node: "n"})
				for range entries {
					unicast(b, s[0], "inline", body200[:100])
					multicast(b, s[0], 10, body200)
				}
			}
			for unit, key := range map[string]string{"inline-bytes": "inline", "refs-bytes": "u0"} {
				tag := "pushd:{" + redis.Tag(s[0]) + "}i:"
				b.ReportMetric(float64(do(b, server, "MEMORY", "USAGE", tag+key, "SAMPLES", 0).(int64)), unit)
			}
		})
	}
}

// BenchmarkRecordDelivered is what 10,000 users were sent in a while, in one call:
// ranges that continue those of before, as many as are kept.
func BenchmarkRecordDelivered(b *testing.B) {
	const users = 10_000
	server, s := benchStores(b, 1)
	next := func(i int64) {
		var d history.Deliveries
		for u := range int64(users) {
			d.Inboxes = append(d.Inboxes, history.UserRange{
				User: name(u), Range: history.Range{From: history.ID(i), To: history.ID(i + 1), At: time.Now()},
			})
		}
		if err := s[0].RecordDelivered(context.Background(), d); err != nil {
			b.Error(err)
		}
	}
	for i := range int64(engine.MergeBeyond) {
		next(i)
	}
	fromCallers(b, server, 1, func(i int64) { next(engine.MergeBeyond + i) })
}

// BenchmarkReceipt is the receipt of a multicast to 10,000 users, while nothing
// is known and when all have got and acked it, among other things.
func BenchmarkReceipt(b *testing.B) {
	const users = 10_000
	for _, known := range []bool{false, true} {
		b.Run(fmt.Sprintf("known=%v", known), func(b *testing.B) {
			server, s := benchStores(b, 1)
			multicast(b, s[0], users, body200)
			newest, err := s[0].Page(b.Context(), "u0", history.Query{Limit: 1})
			if err != nil {
				b.Fatal(err)
			}
			id := newest.Messages[0].ID
			for i := history.ID(0); known && i < engine.MergeBeyond; i++ {
				readAll(b, s[0], users, history.Range{From: id - engine.MergeBeyond + i, To: id - engine.MergeBeyond + i + 1, At: time.Now()})
			}
			fromCallers(b, server, 1, func(int64) {
				o, err := s[0].Receipt(context.Background(), id, 1000)
				if err != nil || o.Recipients != users || known && o.Delivered != users {
					b.Errorf("%d recipients, delivered to %d, %v", o.Recipients, o.Delivered, err)
				}
			})
		})
	}
}

// readAll has a range delivered to u0 to u(users-1), and acked.
func readAll(b *testing.B, s *redis.Store, users int, read history.Range) {
	ranges := make([]history.UserRange, users)
	var wg sync.WaitGroup
	for i := range ranges {
		ranges[i] = history.UserRange{User: "u" + strconv.Itoa(i), Range: read}
		wg.Go(func() {
			if _, err := s.Ack(context.Background(), ranges[i].User, history.Cursor{Inbox: read.To}, ""); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	record(b, s, ranges...)
}

// BenchmarkUnacked is finding out who of 10,000 recipients has not acked: nobody
// has, and all is read.
func BenchmarkUnacked(b *testing.B) {
	clock := historytest.NewClock()
	server := redistest.Start(b, redistest.Options{})
	s := openStore(b, redis.Config{URL: server.URL(), Node: "n", Now: clock.Now})
	p := history.Push{Kind: history.Multicast, Data: body200, UnackedAfter: time.Minute}
	for i := range 10_000 {
		p.Users = append(p.Users, "u"+strconv.Itoa(i))
	}
	q := watch.Query{Kinds: watch.Unacked, Limit: 1000}
	read := func() int {
		page, err := s.ReadEvents(context.Background(), q)
		if err != nil || page.Lost {
			b.Errorf("lost: %v, %v", page.Lost, err)
		}
		q.After = page.Next
		return len(page.Events)
	}
	read()
	for range b.N {
		appended(b, s, p)
	}
	clock.Advance(time.Minute)
	fromCallers(b, server, 1, func(int64) {
		for n := 0; n < len(p.Users) && !b.Failed(); {
			n += read()
		}
	})
}

// fromCallers runs op b.N times from some goroutines, and reports what it takes
// of this process and of Redis.
func fromCallers(b *testing.B, server *redistest.Server, callers int, op func(i int64)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	runtime.GC()
	cpu, redisCPU := cpuTime(), redisTime(b, server)
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				op(i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric((redisTime(b, server)-redisCPU)*1e9/float64(b.N), "redis-cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// redisTime returns the seconds of CPU that the server has used.
func redisTime(b testing.TB, s *redistest.Server) float64 {
	return info(b, s, "used_cpu_user") + info(b, s, "used_cpu_sys")
}

func info(b testing.TB, s *redistest.Server, field string) float64 {
	text, err := s.Info(context.Background(), field)
	if err != nil {
		b.Fatal(err)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func do(t testing.TB, s *redistest.Server, args ...any) any {
	t.Helper()
	got, err := s.Do(context.Background(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
