package embedded

import (
	"fmt"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// BenchmarkRecordDelivered is one call about 10,000 users, each time of the next
// entry of each, so that trails are full after the first few.
func BenchmarkRecordDelivered(b *testing.B) {
	for _, sync := range []Sync{SyncAlways, SyncNever} {
		b.Run(sync.String(), func(b *testing.B) {
			s := benchStore(b, sync)
			spans := make([]history.UserRange, 10_000)
			for i := range spans {
				spans[i].User = fmt.Sprintf("user-%d", i*7919%len(spans))
			}
			note := func() {
				for i := range spans {
					spans[i].From, spans[i].To, spans[i].At = spans[i].To, spans[i].To+1e9, time.Now()
				}
				if err := s.RecordDelivered(b.Context(), history.Deliveries{Inboxes: spans}); err != nil {
					b.Fatal(err)
				}
			}
			for range engine.MergeBeyond {
				note()
			}
			b.ReportAllocs()
			began := cpuTime()
			for b.Loop() {
				note()
			}
			b.ReportMetric(float64((cpuTime()-began).Nanoseconds())/float64(b.N*len(spans)), "cpu-ns/user")
		})
	}
}
