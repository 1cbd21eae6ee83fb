//go:build linux && !fallback && !race

package conn

import (
	"fmt"
	"io"
	"testing"
	"time"

	"pushd.example/internal/history"
)

// BenchmarkBroadcast delivers to 500 clients that read, in the same process:
// the time for each delivery includes theirs.
func BenchmarkBroadcast(b *testing.B) {
	const clients = 500
	s, conns := crowd(b, clients, "")
	for _, c := range conns {
		go io.Copy(io.Discard, c)
	}
	batch := broadcast(history.FirstIDAt(time.Now().Add(time.Hour)), []byte(`{"title":"Hi"}`))
	b.ReportAllocs()
	for b.Loop() {
		before := s.stats().Broadcast
		s.fanout.Deliver(batch)
		await(b, func() bool { return s.stats().Broadcast == before+clients })
		batch[0].Prev = batch[0].Message.ID
		batch[0].Message.ID++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/clients, "ns/delivery")
}

// unicasts returns messages to user0, user1 and so on, around and around.
func unicasts(users, n int, first history.ID) []history.Delivery {
	batch := make([]history.Delivery, n)
	for i := range batch {
		batch[i] = history.Delivery{
			Message:    history.Message{ID: first + history.ID(i), Kind: history.Unicast, Data: []byte(`{"title":"Hi"}`)},
			Recipients: []history.Recipient{{User: fmt.Sprintf("user%d", i%users)}},
		}
	}
	return batch
}

// BenchmarkUnicast delivers to one user after the other, a thousand at a time.
func BenchmarkUnicast(b *testing.B) {
	const clients, burst = 100, 1000
	s, conns := crowd(b, clients, "")
	for _, c := range conns {
		go io.Copy(io.Discard, c)
	}
	batch := unicasts(clients, burst, history.FirstIDAt(time.Now().Add(time.Hour)))
	b.ReportAllocs()
	for b.Loop() {
		before := s.stats().Inbox
		s.fanout.Deliver(batch)
		await(b, func() bool { return s.stats().Inbox == before+burst })
		for i := range batch {
			batch[i].Message.ID += burst
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/burst, "ns/delivery")
}
