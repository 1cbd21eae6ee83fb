package embedded

import (
	"fmt"
	"testing"

	"pushd.example/internal/history"
)

// BenchmarkWatched is what watching adds: a connection that comes and goes, an
// ack, a delivery recorded.
func BenchmarkWatched(b *testing.B) {
	for _, watched := range []bool{false, true} {
		s := benchStore(b, SyncNever)
		if watched {
			if _, err := s.ReadEvents(b.Context(), history.EventQuery{Kinds: history.EveryEvent, Limit: 1}); err != nil {
				b.Fatal(err)
			}
		}
		name := fmt.Sprintf("watched=%v", watched)
		b.Run("connect/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				user := fmt.Sprintf("user-%d", i%10000)
				if _, err := s.Attach(b.Context(), user, history.Start{}); err != nil {
					b.Fatal(err)
				}
				s.Detach(user)
			}
		})
		b.Run("delivered/"+name, func(b *testing.B) {
			b.ReportAllocs()
			batch := make([]history.Event, 100)
			for i := range batch {
				batch[i] = history.Event{Kind: history.Delivered, User: fmt.Sprintf("user-%d", i), ID: 1}
			}
			for i := 0; i < b.N; i += len(batch) {
				if !s.Watched(history.Delivered) {
					continue
				}
				if err := s.RecordDelivered(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
