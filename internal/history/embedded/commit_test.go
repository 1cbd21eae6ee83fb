package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/history/historytest"
)

// slowDisk is a disk on which some operations wait while it is held.
type slowDisk struct {
	slow    func(errorfs.Op) bool
	waiting chan struct{} // has room for one

	mu   sync.Mutex
	held chan struct{} // closed to let go; nil: not held
	err  error         // of those operations, once they need not wait
}

func newSlowDisk(slow func(errorfs.Op) bool) *slowDisk {
	return &slowDisk{slow: slow, waiting: make(chan struct{}, 1)}
}

func logSync(op errorfs.Op) bool {
	sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
	return sync && strings.HasSuffix(op.Path, ".log")
}

func tableCreate(op errorfs.Op) bool {
	return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst")
}

func (s *slowDisk) fs() vfs.FS { return errorfs.Wrap(vfs.Default, s) }

func (s *slowDisk) String() string { return "slow disk" }

func (s *slowDisk) MaybeError(op errorfs.Op) error {
	if !s.slow(op) {
		return nil
	}
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held != nil {
		select {
		case s.waiting <- struct{}{}:
		default:
		}
		<-held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// hold makes operations wait until the returned function is called.
func (s *slowDisk) hold() (letGo func(err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.held = held
	var once sync.Once
	return func(err error) {
		once.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.held, s.err = nil, err
			close(held)
		})
	}
}

func awaited[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// TestNothingShowsBeforeItsSync holds the sync of a group that Pebble already
// has in memory. Readers must not see it; what attaches now gets it delivered.
func TestNothingShowsBeforeItsSync(t *testing.T) {
	disk := newSlowDisk(logSync)
	s := mustOpen(t, embedded.Config{
		Dir: t.TempDir(), FS: disk.fs(), Retention: history.Retention{InboxCount: 3},
	})
	send := func(p history.Push) history.AppendResult {
		r, err := s.Append(t.Context(), p)
		if err != nil {
			t.Error(err)
		}
		return r
	}
	ann := history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: []byte("x")}
	all := history.Push{Kind: history.Broadcast, Data: []byte("y")}
	for range 100 {
		send(ann)
	}
	send(all)
	query := history.Query{Direction: history.Forward, Limit: 100}
	before, err := s.Page(t.Context(), "ann", query)
	if err != nil || len(before.Messages) != 4 {
		t.Fatal(len(before.Messages), err)
	}
	var delivered []history.ID
	stop := s.Follow(func(batch []history.Delivery) {
		for _, d := range batch {
			delivered = append(delivered, d.Message.ID)
		}
	})
	letGo := disk.hold()
	defer letGo(nil)
	done := make(chan history.AppendResult, 2)
	go func() { done <- send(ann) }()
	awaited(t, "sync", disk.waiting)
	go func() { done <- send(all) }()

	a, err := s.Attach(t.Context(), "ann", history.Start{At: history.StartUnread, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	during, err := s.Page(t.Context(), "ann", query)
	if err != nil {
		t.Fatal(err)
	}
	for what, p := range map[string]history.Page{"page": during, "attachment": a.Page} {
		if len(p.Messages) != 4 || p.Cursor != before.Cursor || p.Unread != 4 ||
			p.Messages[0].ID != before.Messages[0].ID {
			t.Errorf("%s before the sync is done: %+v, want %+v", what, p, before)
		}
	}
	letGo(nil)
	for range 2 {
		if r := awaited(t, "answer", done); r.Online != 1 {
			t.Errorf("%+v, want one online", r)
		}
	}
	stop()
	if len(delivered) != 2 || delivered[0] <= before.Cursor.Broadcast || delivered[1] <= delivered[0] {
		t.Errorf("delivered %v after %d", delivered, before.Cursor.Broadcast)
	}
	after, err := s.Page(t.Context(), "ann", query)
	if err != nil || len(after.Messages) != 5 || after.Messages[0].ID <= before.Messages[0].ID {
		t.Errorf("after the sync: %+v, %v", after, err)
	}
}

// TestCallerMayLeave ends contexts while appends wait for a sync: the callers
// return at once, the messages are stored, their memory is not mixed up.
func TestCallerMayLeave(t *testing.T) {
	disk := newSlowDisk(logSync)
	s := mustOpen(t, embedded.Config{Dir: t.TempDir(), FS: disk.fs()})
	letGo := disk.hold()
	defer letGo(nil)
	ctx, cancel := context.WithCancel(t.Context())
	const callers = 20
	failed := make(chan error, callers)
	for range callers {
		go func() {
			_, err := s.Append(ctx, history.Push{Kind: history.Multicast, Users: []string{"ann", "bob"}, Data: []byte("left")})
			failed <- err
		}()
	}
	awaited(t, "sync", disk.waiting)
	cancel()
	for range callers {
		if err := awaited(t, "error", failed); !errors.Is(err, context.Canceled) {
			t.Errorf("append returned %v", err)
		}
	}
	letGo(nil)
	for range 50 { // reuse what the callers left
		if _, err := s.Append(t.Context(), history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: []byte("new")}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Page(t.Context(), "bob", history.Query{Limit: 100})
	if err != nil || len(p.Messages) < 1 || len(p.Messages) > callers {
		t.Fatal(len(p.Messages), err)
	}
	for _, m := range p.Messages {
		if string(m.Data) != "left" || m.Kind != history.Multicast {
			t.Errorf("bob has %v %q", m.Kind, m.Data)
		}
	}
}

// TestSameKeyAtOnce has callers with one key meet in one group, and counts them.
func TestSameKeyAtOnce(t *testing.T) {
	disk := newSlowDisk(logSync)
	metrics := prometheus.NewPedanticRegistry()
	s := mustOpen(t, embedded.Config{Dir: t.TempDir(), FS: disk.fs(), Metrics: metrics})
	letGo := disk.hold()
	defer letGo(nil)
	const callers = 100
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, err := s.Append(t.Context(), history.Push{Kind: history.Broadcast, IdempotencyKey: "same"}); err != nil {
				t.Error(err)
			}
		})
	}
	awaited(t, "sync", disk.waiting)
	letGo(nil)
	wg.Wait()
	want := `
# HELP pushd_history_appends_total Messages that were to be stored, by kind and result (stored, duplicate, error).
# TYPE pushd_history_appends_total counter
pushd_history_appends_total{kind="broadcast",result="duplicate"} 99
pushd_history_appends_total{kind="broadcast",result="error"} 0
pushd_history_appends_total{kind="broadcast",result="stored"} 1
pushd_history_appends_total{kind="multicast",result="duplicate"} 0
pushd_history_appends_total{kind="multicast",result="error"} 0
pushd_history_appends_total{kind="multicast",result="stored"} 0
pushd_history_appends_total{kind="unicast",result="duplicate"} 0
pushd_history_appends_total{kind="unicast",result="error"} 0
pushd_history_appends_total{kind="unicast",result="stored"} 0
# HELP pushd_history_read_only 1 while nothing is stored because a write has failed, until the history could be opened again.
# TYPE pushd_history_read_only gauge
pushd_history_read_only 0
`
	err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "pushd_history_appends_total", "pushd_history_read_only")
	if err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(metrics); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := metrics.Gather(); err != nil || len(left) > 0 {
		t.Errorf("after Close %d metrics are registered, %v", len(left), err)
	}
}

// TestAppendsWaitForFlushes holds flushes until appends wait for them, and then
// lets them go on or fail.
func TestAppendsWaitForFlushes(t *testing.T) {
	for _, receipt := range []error{nil, syscall.ENOSPC} {
		t.Run(fmt.Sprint(receipt), func(t *testing.T) {
			disk := newSlowDisk(tableCreate)
			metrics := prometheus.NewRegistry()
			s, err := embedded.Open(embedded.Config{
				Dir: t.TempDir(), FS: disk.fs(), Sync: embedded.SyncNever, Metrics: metrics,
			})
			if err != nil {
				t.Fatal(err)
			}
			letGo := disk.hold()
			defer letGo(nil)
			result := make(chan error, 1)
			go func() { result <- appendMegabytes(s, 64) }()
			awaitStall(t, metrics)
			letGo(receipt)
			if err := awaited(t, "end", result); receipt == nil && err != nil ||
				receipt != nil && !(errors.Is(err, history.ErrReadOnly) && errors.Is(err, receipt)) {
				t.Errorf("after flushes ended with %v, appends end with %v", receipt, err)
			}
			if err := closeInTime(t, s); (err == nil) != (receipt == nil) {
				t.Errorf("closing returned %v", err)
			}
		})
	}
}

func appendMegabytes(s history.Store, n int) error {
	data := make([]byte, 64<<10)
	for i := range n << 20 / len(data) {
		// Random, or the table would be small.
		rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(data)
		_, err := s.Append(context.Background(), history.Push{Kind: history.Broadcast, Data: bytes.Clone(data)})
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitStall waits until appends have waited for flushes.
func awaitStall(t *testing.T, metrics prometheus.Gatherer) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "pushd_history_stalls_total" && f.GetMetric()[0].GetCounter().GetValue() > 0 {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("appends never waited")
		}
	}
}

// TestMaintenance looks at what is on the disk, beyond what is shown.
func TestMaintenance(t *testing.T) {
	clock := historytest.NewClock()
	c := embedded.Config{Dir: t.TempDir(), Now: clock.Now, Retention: history.Retention{
		InboxCount: 10, InboxAge: time.Hour, BroadcastCount: 10, BroadcastAge: 2 * time.Hour, IdempotencyKeys: time.Hour,
	}}
	s := mustOpen(t, c)
	send := func(p history.Push) {
		t.Helper()
		clock.Advance(time.Second)
		if _, err := s.Append(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	keys := func(tag byte) int {
		t.Helper()
		n, err := embedded.Keys(s, tag)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	want := func(when string, tag byte, least, most int) {
		t.Helper()
		if n := keys(tag); n < least || n > most {
			t.Errorf("%s: %d keys of %c, want %d to %d", when, n, tag, least, most)
		}
	}
	maintain := func() {
		t.Helper()
		if err := embedded.Maintain(s); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, IdempotencyKey: strings.Repeat("k", i+1)})
		send(history.Push{Kind: history.Broadcast})
		send(history.Push{Kind: history.Multicast, Users: []string{"bob", "eve"}, Data: make([]byte, 100)})
	}
	want("inboxes are trimmed when they are appended to", 'i', 3*10, 3*(10+128))
	want("before maintenance", 'm', 300, 300)
	maintain()
	want("by count", 'b', 10, 10)
	want("by count", 'h', 10, 10)
	want("too young", 'm', 300, 300)
	want("too young", 'k', 300, 300)

	clock.Advance(90 * time.Minute)
	maintain()
	want("past its age", 'm', 0, 0)
	want("the last bucket stays until the next", 'k', 0, 300)
	send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, IdempotencyKey: "next"})
	want("an append trims by age", 'i', 1, 1+2*(10+128))
	clock.Advance(90 * time.Minute)
	send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, IdempotencyKey: "last"})
	maintain()
	want("may have come just before the last", 'k', 2, 2)
	clock.Advance(time.Hour)
	maintain()
	want("past its time", 'k', 1, 1)
	want("past its age", 'b', 0, 0)

	// Markers of what is gone outlive the process.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, c)
	p, err := s.Page(t.Context(), "nobody", history.Query{Direction: history.Forward, Limit: 10})
	if err != nil || !p.Truncated || len(p.Messages) != 0 || p.Cursor.Broadcast == 0 {
		t.Errorf("a stranger's page is %+v, %v; want it empty, truncated, with the head", p, err)
	}
}

func TestAppendAllocates(t *testing.T) {
	s := mustOpen(t, embedded.Config{Dir: t.TempDir(), Sync: embedded.SyncNever})
	p := history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: make([]byte, 200)}
	for range 200 {
		if _, err := s.Append(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	n := testing.AllocsPerRun(1000, func() {
		if _, err := s.Append(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%v allocations per append", n)
	if n > 8 {
		t.Errorf("%v allocations per append, want at most 8", n)
	}
}

// TestManyBroadcasts has so many broadcasts that they do not wait for the hour.
func TestManyBroadcasts(t *testing.T) {
	s := mustOpen(t, embedded.Config{
		Dir: t.TempDir(), Sync: embedded.SyncNever, Retention: history.Retention{BroadcastCount: 10},
	})
	for range 1200 {
		if _, err := s.Append(t.Context(), history.Push{Kind: history.Broadcast}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := embedded.Keys(s, 'b'); err != nil || n >= 1100 {
		t.Errorf("%d broadcasts are on the disk, %v", n, err)
	}
	p, err := s.Page(t.Context(), "ann", history.Query{Direction: history.Forward, Limit: 100})
	if err != nil || len(p.Messages) != 10 || !p.Truncated || p.Unread != 10 {
		t.Errorf("%d messages, truncated %v, %d unread, %v", len(p.Messages), p.Truncated, p.Unread, err)
	}
}
