package embedded

import (
	"fmt"
	"testing"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// BenchmarkWatched is what watching adds: a connection that comes and goes, an
// ack, a delivery recorded.
func BenchmarkWatched(b *testing.B) {
	for _, watched := range []bool{false, true} {
		s := benchStore(b, SyncNever)
		if watched {
			if _, err := s.ReadEvents(b.Context(), watch.Query{Kinds: watch.AllKinds, Limit: 1}); err != nil {
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
			p := history.Push{Kind: history.Multicast}
			for i := range 100 {
				p.Users = append(p.Users, fmt.Sprintf("user-%d", i))
			}
			b.ResetTimer()
			for i := 0; i < b.N; i += len(p.Users) {
				b.StopTimer()
				r, err := s.Append(b.Context(), p)
				if err != nil {
					b.Fatal(err)
				}
				d := history.Deliveries{}
				for _, user := range p.Users {
					d.Inboxes = append(d.Inboxes, history.UserRange{User: user, Range: history.Range{From: r.ID - 1, To: r.ID}})
				}
				b.StartTimer()
				if err := s.RecordDelivered(b.Context(), d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
