package embedded

import (
	"fmt"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// BenchmarkReceipt is of a multicast to 10,000 users, of whom it names 100: before
// anything of it was delivered, and with delivered ranges that are full.
func BenchmarkReceipt(b *testing.B) {
	s := benchStore(b, SyncNever)
	users := make([]string, 10_000)
	ranges := make([]history.UserRange, len(users))
	for i := range users {
		users[i] = fmt.Sprintf("user-%d", i)
		ranges[i].User = users[i]
	}
	r, err := s.Append(b.Context(), history.Push{Kind: history.Multicast, Users: users})
	if err != nil {
		b.Fatal(err)
	}
	receipt := func(want int) func(int) {
		return func(int) {
			if o, err := s.Receipt(b.Context(), r.ID, 100); err != nil || o.Delivered != want {
				b.Fatal(o.Delivered, err)
			}
		}
	}
	measure(b, "fresh", receipt(0))
	for n := range engine.MergeBeyond {
		for i := range ranges {
			to := r.ID - engine.MergeBeyond + 1 + history.ID(n) // the last is the message's
			ranges[i].Range = history.Range{From: to - 1, To: to, At: time.Now()}
		}
		if err := s.RecordDelivered(b.Context(), history.Deliveries{Inboxes: ranges}); err != nil {
			b.Fatal(err)
		}
	}
	measure(b, "delivered", receipt(len(users)))
}
