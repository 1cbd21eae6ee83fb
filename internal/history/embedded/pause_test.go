package embedded

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"pushd.example/internal/history"
)

// BenchmarkPause is how long one unicast a millisecond takes at most while a
// multicast is stored: to users who are new, and to users who have an entry.
func BenchmarkPause(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		for _, sync := range []Sync{SyncAlways, SyncInterval} {
			for _, inbox := range []string{"new", "known"} {
				b.Run(fmt.Sprintf("users=%d/%v/%s", n, sync, inbox), func(b *testing.B) { benchPause(b, n, sync, inbox == "known") })
			}
		}
	}
}

func benchPause(b *testing.B, n int, sync Sync, known bool) {
	users := make([]string, n)
	data := bytes.Repeat([]byte("x"), 1024)
	s := benchStore(b, sync)
	var worst, took time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		for j := range users {
			users[j] = fmt.Sprintf("user-%d-%07d", i, j*7919%n)
		}
		p := history.Push{Kind: history.Multicast, Users: users, Data: data}
		if known {
			if _, err := s.Append(b.Context(), p); err != nil {
				b.Fatal(err)
			}
		}
		done := make(chan time.Duration)
		go func() {
			began := time.Now()
			if _, err := s.Append(context.Background(), p); err != nil {
				b.Error(err)
			}
			done <- time.Since(began)
		}()
		b.StartTimer()
		tick := time.NewTicker(time.Millisecond)
		for running := true; running; {
			<-tick.C
			began := time.Now()
			unicast(b, s, "somebody", body200)
			worst = max(worst, time.Since(began))
			select {
			case d := <-done:
				took += d
				running = false
			default:
			}
		}
		tick.Stop()
	}
	b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
	b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "multicast-ms")
}
