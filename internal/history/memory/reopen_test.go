package memory_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/historytest"
	"pushd.example/internal/history/memory"
	"pushd.example/internal/history/watch"
)

// TestReplayed runs the tests of engines that outlive their Store: this one repeats
// all that was done.
func TestReplayed(t *testing.T) { historytest.Run(t, openReplayed) }

func TestReplayedStateMachine(t *testing.T) { historytest.StateMachine(t, openReplayed) }

// replayed keeps what was done to a memory store.
type replayed struct {
	*memory.Store
	now func() time.Time

	mu   *sync.Mutex
	done *[]deed
}

// deed is something done to a store, and when.
type deed struct {
	at time.Time
	do func(*memory.Store) error
}

func openReplayed(t testing.TB, o historytest.Options) historytest.Engine {
	r := replayed{now: o.Now, mu: &sync.Mutex{}, done: &[]deed{}}
	reopen := func() history.Store {
		now := o.Now
		s, err := memory.New(memory.Config{Retention: o.Retention, Events: o.Events, Now: func() time.Time { return now() }})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range *r.done {
			now = func() time.Time { return d.at }
			if err := d.do(s); err != nil {
				t.Fatalf("replaying: %v", err)
			}
		}
		now = o.Now
		r.Store = s
		return r
	}
	return historytest.Engine{Store: reopen(), Reopen: reopen}
}

func (r replayed) keep(err error, do func(*memory.Store) error) {
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	*r.done = append(*r.done, deed{r.now(), do})
}

func (r replayed) Append(ctx context.Context, p history.Push) (history.AppendResult, error) {
	result, err := r.Store.Append(ctx, p)
	p.Data = append([]byte(nil), p.Data...)
	r.keep(err, func(s *memory.Store) error {
		_, err := s.Append(context.Background(), p)
		return err
	})
	return result, err
}

func (r replayed) Ack(ctx context.Context, user string, c history.Cursor, exclude string) (history.ReadMark, error) {
	mark, err := r.Store.Ack(ctx, user, c, exclude)
	r.keep(err, func(s *memory.Store) error {
		_, err := s.Ack(context.Background(), user, c, "")
		return err
	})
	return mark, err
}

func (r replayed) AddMembers(ctx context.Context, group string, users []string) (int, error) {
	added, err := r.Store.AddMembers(ctx, group, users)
	r.keep(err, func(s *memory.Store) error {
		_, err := s.AddMembers(context.Background(), group, users)
		return err
	})
	return added, err
}

func (r replayed) RemoveMembers(ctx context.Context, group string, users []string) (int, error) {
	removed, err := r.Store.RemoveMembers(ctx, group, users)
	r.keep(err, func(s *memory.Store) error {
		_, err := s.RemoveMembers(context.Background(), group, users)
		return err
	})
	return removed, err
}

func (r replayed) DeleteGroup(ctx context.Context, group string) (int, error) {
	removed, err := r.Store.DeleteGroup(ctx, group)
	r.keep(err, func(s *memory.Store) error {
		_, err := s.DeleteGroup(context.Background(), group)
		return err
	})
	return removed, err
}

func (r replayed) Recall(ctx context.Context, id history.ID) error {
	err := r.Store.Recall(ctx, id)
	r.keep(err, func(s *memory.Store) error { return s.Recall(context.Background(), id) })
	return err
}

func (r replayed) RecordDelivered(ctx context.Context, d history.Deliveries) error {
	err := r.Store.RecordDelivered(ctx, d)
	r.keep(err, func(s *memory.Store) error { return s.RecordDelivered(context.Background(), d) })
	return err
}

// ReadEvents is repeated as far as it checks for unacked pushes.
func (r replayed) ReadEvents(ctx context.Context, q watch.Query) (watch.Page, error) {
	p, err := r.Store.ReadEvents(ctx, q)
	if !q.Kinds.Has(watch.Unacked) || len(q.After.Marks) == 0 {
		return p, err
	}
	r.keep(err, func(s *memory.Store) error {
		q := watch.Query{Kinds: watch.Unacked, Limit: 1 << 20}
		for {
			p, err := s.ReadEvents(context.Background(), q)
			if err != nil || len(p.Events) == 0 && len(q.After.Marks) > 0 {
				return err
			}
			q.After = p.Next
		}
	})
	return p, err
}
