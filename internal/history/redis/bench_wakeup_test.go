package redis_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"pushd.example/internal/history"
	"pushd.example/internal/redistest"
)

// BenchmarkWakeup is the time from a push at one node until another node has
// it, at several paces. store is what pushd does; xread and publish are the two
// ways for Redis to wake a node, with nothing around them.
func BenchmarkWakeup(b *testing.B) {
	for _, pace := range []int{500, 5000} {
		for way, wake := range map[string]func(*testing.B, *arrivals) (send func(at []byte)){
			"store": wakeByStore, "xread": wakeByXRead, "publish": wakeByPublish,
		} {
			b.Run(fmt.Sprintf("%s/pace=%d", way, pace), func(b *testing.B) {
				got := &arrivals{want: b.N, done: make(chan struct{})}
				send := wake(b, got)
				b.ResetTimer()
				atPace(b.N, pace, send)
				<-got.done
				b.StopTimer()
				got.report(b)
			})
		}
	}
}

// atPace sends n times, in goroutines of their own: what is late delays nothing
// that is due.
func atPace(n, pace int, send func(at []byte)) {
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(pace))
		time.Sleep(time.Until(due))
		wg.Go(func() { send(binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))) })
	}
	wg.Wait()
}

// arrivals gathers how long messages were under way.
type arrivals struct {
	want int
	done chan struct{}
	took []time.Duration
}

// take is called by one goroutine.
func (a *arrivals) take(at []byte) {
	a.took = append(a.took, time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(at)))))
	if len(a.took) == a.want {
		close(a.done)
	}
}

func (a *arrivals) report(b *testing.B) {
	slices.Sort(a.took)
	at := func(share float64) float64 { return float64(a.took[int(share*float64(len(a.took)-1))].Microseconds()) }
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
}

func wakeByStore(b *testing.B, got *arrivals) func([]byte) {
	_, s := benchStores(b, 2)
	b.Cleanup(s[1].Follow(func(batch []history.Delivery) {
		for _, d := range batch {
			if len(d.Message.Data) == 8 {
				got.take(d.Message.Data)
			}
		}
	}))
	connect(b, s[1], "u")
	return func(at []byte) { unicast(b, s[0], "u", at) }
}

// bareClients returns a client to send with and one to listen with.
func bareClients(b *testing.B) (send, listen *goredis.Client) {
	server := redistest.Start(b, redistest.Options{})
	for _, c := range []**goredis.Client{&send, &listen} {
		*c = goredis.NewClient(&goredis.Options{Addr: server.Addr(), Protocol: 2, DisableIdentity: true})
		b.Cleanup(func() { (*c).Close() })
	}
	return send, listen
}

func wakeByXRead(b *testing.B, got *arrivals) func([]byte) {
	send, listen := bareClients(b)
	var wg sync.WaitGroup
	b.Cleanup(wg.Wait)
	wg.Go(func() {
		for last := "0-0"; len(got.took) < got.want; {
			reply, err := listen.XRead(context.Background(), &goredis.XReadArgs{Streams: []string{"s", last}, Count: 256, Block: time.Second}).Result()
			if err != nil {
				continue // nothing came in a second
			}
			for _, m := range reply[0].Messages {
				last = m.ID
				got.take([]byte(m.Values["d"].(string)))
			}
		}
	})
	return func(at []byte) {
		if err := send.XAdd(context.Background(), &goredis.XAddArgs{Stream: "s", Values: []any{"d", at}}).Err(); err != nil {
			b.Error(err)
		}
	}
}

func wakeByPublish(b *testing.B, got *arrivals) func([]byte) {
	send, listen := bareClients(b)
	sub := listen.Subscribe(context.Background(), "c")
	b.Cleanup(func() { sub.Close() })
	if _, err := sub.Receive(context.Background()); err != nil {
		b.Fatal(err)
	}
	ch := sub.Channel(goredis.WithChannelSize(4096))
	var wg sync.WaitGroup
	b.Cleanup(wg.Wait)
	wg.Go(func() {
		for len(got.took) < got.want {
			got.take([]byte((<-ch).Payload))
		}
	})
	return func(at []byte) {
		if err := send.Publish(context.Background(), "c", at).Err(); err != nil {
			b.Error(err)
		}
	}
}
