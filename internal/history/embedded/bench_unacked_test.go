package embedded

import (
	"fmt"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// BenchmarkUnacked reads, 1,000 at a time, who of 10,000 recipients of a multicast,
// or of as many unicasts, has not acked. A quarter has.
func BenchmarkUnacked(b *testing.B) {
	for _, kind := range []history.Kind{history.Multicast, history.Unicast} {
		b.Run(kind.String(), func(b *testing.B) {
			now := time.Now()
			s, err := Open(Config{Dir: b.TempDir(), Sync: SyncNever, Now: func() time.Time { return now }})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			const users = 10_000
			q := watch.Query{Kinds: watch.Unacked, Limit: 1000}
			read := func() int {
				p, err := s.ReadEvents(b.Context(), q)
				if err != nil {
					b.Fatal(err)
				}
				q.After = p.Next
				return len(p.Events)
			}
			read()
			var took time.Duration
			for b.Loop() {
				b.StopTimer()
				askAll(b, s, kind, users)
				now = now.Add(2 * time.Minute) // 10,000 ids take more than a millisecond
				b.StartTimer()
				began := cpuTime()
				found := 0
				for n := read(); n > 0; n = read() {
					found += n
				}
				took += cpuTime() - began
				if found != users*3/4 {
					b.Fatalf("%d users", found)
				}
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N*users), "cpu-ns/user")
		})
	}
}

func askAll(b *testing.B, s *Store, kind history.Kind, users int) {
	all := make([]string, users)
	for i := range all {
		all[i] = fmt.Sprint("user-", i)
	}
	ask := history.Push{Kind: kind, Users: all, UnackedAfter: time.Minute}
	if kind == history.Multicast {
		if _, err := s.Append(b.Context(), ask); err != nil {
			b.Fatal(err)
		}
	} else {
		appendAll(b, s, users, func(i int) history.Push {
			ask := ask
			ask.Users = all[i : i+1]
			return ask
		})
	}
	for i := 0; i < users; i += 4 {
		if _, err := s.Ack(b.Context(), all[i], history.Cursor{Inbox: s.headsNow().last}, ""); err != nil {
			b.Fatal(err)
		}
	}
}
