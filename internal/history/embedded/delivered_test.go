package embedded_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/history/historytest"
)

func deliveries(user string, from, to history.ID) history.Deliveries {
	return history.Deliveries{Inboxes: []history.UserRange{{User: user, Range: history.Range{From: from, To: to}}}}
}

// TestRecorderMayLeave ends the context of a call that waits behind a slow disk.
// The store finishes that call all the same, and the next call builds on it.
func TestRecorderMayLeave(t *testing.T) {
	disk := newSlowDisk(logSync)
	s := mustOpen(t, embedded.Config{Dir: t.TempDir(), FS: disk.fs()})
	var sent []history.ID
	for range 2 {
		r, err := s.Append(t.Context(), history.Push{Kind: history.Unicast, Users: []string{"ann"}})
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, r.ID)
	}
	letGo := disk.hold()
	defer letGo(nil)
	appended := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), history.Push{Kind: history.Unicast, Users: []string{"bob"}})
		appended <- err
	}()
	awaited(t, "sync", disk.waiting)
	ctx, cancel := context.WithCancel(t.Context())
	recorded := make(chan error, 1)
	d := deliveries("ann", 0, sent[0])
	go func() { recorded <- s.RecordDelivered(ctx, d) }()
	awaited(t, "queued change", embedded.Queued(s))
	cancel()
	if err := awaited(t, "error", recorded); !errors.Is(err, context.Canceled) {
		t.Errorf("recorded with %v", err)
	}
	d.Inboxes[0].User = "nobody" // it is the caller's again
	letGo(nil)
	if err := awaited(t, "append", appended); err != nil {
		t.Fatal(err)
	}
	if err := s.RecordDelivered(t.Context(), deliveries("ann", sent[0], sent[1])); err != nil {
		t.Fatal(err)
	}
	for _, id := range sent {
		if o, err := s.Receipt(t.Context(), id, 1); err != nil || o.Delivered != 1 {
			t.Errorf("receipt of %d: %+v, %v", id, o, err)
		}
	}
}

// TestCountsGoWithTheirBroadcasts looks at what is on the disk.
func TestCountsGoWithTheirBroadcasts(t *testing.T) {
	clock := historytest.NewClock()
	s := mustOpen(t, embedded.Config{Dir: t.TempDir(), Now: clock.Now, Retention: history.Retention{BroadcastCount: 3}})
	d := history.Deliveries{Broadcasts: map[history.ID]int{}}
	for range 10 {
		clock.Advance(time.Second)
		r, err := s.Append(t.Context(), history.Push{Kind: history.Broadcast})
		if err != nil {
			t.Fatal(err)
		}
		d.Broadcasts[r.ID] = 1
	}
	for _, want := range []int{10, 3, 3} {
		if err := s.RecordDelivered(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if n, err := embedded.Keys(s, 'n'); err != nil || n != want {
			t.Errorf("%d counts, %v; want %d", n, err, want)
		}
		if err := embedded.Maintain(s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDeliveriesOutliveThePower records a broadcast together with a range that is known
// already, and takes the power away.
func TestDeliveriesOutliveThePower(t *testing.T) {
	fs := vfs.NewCrashableMem()
	conf := embedded.Config{Dir: "/data", FS: fs}
	s := mustOpen(t, conf)
	u, err1 := s.Append(t.Context(), history.Push{Kind: history.Unicast, Users: []string{"ann"}})
	b, err2 := s.Append(t.Context(), history.Push{Kind: history.Broadcast})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	d := deliveries("ann", 0, u.ID)
	for range 2 {
		if err := s.RecordDelivered(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		d.Broadcasts = map[history.ID]int{b.ID: 3}
	}
	conf.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	s = mustOpen(t, conf)
	for id, want := range map[history.ID]int{u.ID: 1, b.ID: 3} {
		if o, err := s.Receipt(t.Context(), id, 1); err != nil || o.Delivered != want {
			t.Errorf("receipt of %d: %+v, %v; want delivered to %d", id, o, err, want)
		}
	}
}
