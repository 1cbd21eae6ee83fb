package embedded

import (
	"fmt"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// BenchmarkRecordDelivered is one call about 10,000 users, each time of the next
// entry of each, so that delivered ranges are full after the first few.
func BenchmarkRecordDelivered(b *testing.B) {
	for _, sync := range []Sync{SyncAlways, SyncNever} {
		b.Run(sync.String(), func(b *testing.B) {
			s := benchStore(b, sync)
			ranges := make([]history.UserRange, 10_000)
			for i := range ranges {
				ranges[i].User = fmt.Sprintf("user-%d", i*7919%len(ranges))
			}
			record := func() {
				for i := range ranges {
					ranges[i].From, ranges[i].To, ranges[i].At = ranges[i].To, ranges[i].To+1e9, time.Now()
				}
				if err := s.RecordDelivered(b.Context(), history.Deliveries{Inboxes: ranges}); err != nil {
					b.Fatal(err)
				}
			}
			for range engine.MergeBeyond {
				record()
			}
			b.ReportAllocs()
			began := cpuTime()
			for b.Loop() {
				record()
			}
			b.ReportMetric(float64((cpuTime()-began).Nanoseconds())/float64(b.N*len(ranges)), "cpu-ns/user")
		})
	}
}
