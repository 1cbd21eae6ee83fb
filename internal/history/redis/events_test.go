package redis_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/historytest"
	"pushd.example/internal/history/redis"
	"pushd.example/internal/history/watch"
	"pushd.example/internal/redistest"
)

// eventsOf is what a reader of presence is told, until something is.
type eventsOf struct {
	store *redis.Store
	at    watch.Position
}

func startWatching(t *testing.T, s *redis.Store) *eventsOf {
	t.Helper()
	w := &eventsOf{store: s}
	w.read(t, 0)
	return w
}

func (w *eventsOf) read(t *testing.T, wait time.Duration) (words []string) {
	t.Helper()
	p, err := w.store.ReadEvents(t.Context(), watch.Query{Kinds: watch.Presence, After: w.at, Limit: 10_000, Wait: wait})
	if err != nil || p.Lost {
		t.Fatalf("reading events: lost: %v, %v", p.Lost, err)
	}
	w.at = p.Next
	for _, e := range p.Events {
		words = append(words, e.Kind.String()+" "+e.User)
	}
	return words
}

func (w *eventsOf) want(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for len(got) < len(want) {
		more := w.read(t, 30*time.Second)
		if len(more) == 0 {
			break
		}
		got = append(got, more...)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d events %.300q, want %d: %.300q", len(got), got, len(want), want)
	}
}

func attach(t *testing.T, s *redis.Store, user string) {
	t.Helper()
	if _, err := s.Attach(t.Context(), user, history.Start{}); err != nil {
		t.Errorf("attaching %s: %v", user, err)
	}
}

// TestEventsOfSeveralNodes: a user is connected with the first connection on
// any node, and disconnected after the last; all nodes tell the same.
func TestEventsOfSeveralNodes(t *testing.T) {
	clock := historytest.NewClock()
	c := redis.Config{URL: shared.URL(), Node: "a", Prefix: rand.Text() + ":", Partitions: 4, Now: clock.Now}
	a, b := openStore(t, c), openStore(t, c)
	wa := startWatching(t, a)
	attach(t, a, "ann")
	attach(t, b, "ann")
	attach(t, b, "bob")
	wb := &eventsOf{store: b} // a position is good at every node
	wb.at = wa.at
	wa.want(t, "connected ann", "connected bob")
	wb.want(t, "connected ann", "connected bob")
	a.Detach("ann")
	clock.Advance(time.Minute)
	if got := wa.read(t, 0); len(got) != 0 {
		t.Errorf("ann has a connection left: %q", got)
	}
	b.Detach("ann")
	attach(t, a, "ann") // moved over
	clock.Advance(time.Minute)
	if got := wb.read(t, 0); len(got) != 0 {
		t.Errorf("ann has moved: %q", got)
	}
	// A node that closes leaves nobody behind.
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for end := time.Now().Add(30 * time.Second); len(got) == 0 && time.Now().Before(end); {
		clock.Advance(watch.Linger) // the next beat finds bob
		got = wa.read(t, 100*time.Millisecond)
	}
	if !slices.Equal(got, []string{"disconnected bob"}) {
		t.Errorf("after a node has left: %q", got)
	}
}

// TestEventsOfADeadNode: those who were connected to nothing but a node that
// died are disconnected, and only those, however many.
func TestEventsOfADeadNode(t *testing.T) {
	c := redis.Config{URL: shared.URL(), Node: "a", Prefix: rand.Text() + ":", Lease: 2 * time.Second}
	a := openStore(t, c)
	proxy := redistest.NewProxy(t, shared.Addr())
	c.URL = proxy.URL()
	b := openStore(t, c)
	w := startWatching(t, a)
	var in, out []string
	var attaching sync.WaitGroup
	for i := range 2000 {
		user := fmt.Sprint("user", i)
		attaching.Go(func() { attach(t, b, user) })
		in = append(in, "connected "+user)
		if i%10 == 0 {
			attaching.Go(func() { attach(t, a, user) })
		} else {
			out = append(out, "disconnected "+user)
		}
	}
	attaching.Wait()
	w.want(t, in...)
	proxy.Refuse(true)
	proxy.Cut()
	w.want(t, out...)
	// When it is back, so are they.
	proxy.Refuse(false)
	for i, text := range out {
		out[i] = "connected" + text[len("disconnected"):]
	}
	w.want(t, out...)
}

// TestReadingPastOthersEnds: events of other kinds, without end, keep no reader
// longer than it waits, and none from a store that closes.
func TestReadingPastOthersEnds(t *testing.T) {
	c := redis.Config{URL: shared.URL(), Node: "a", Prefix: rand.Text() + ":"}
	s, other := openStore(t, c), openStore(t, c)
	q := watch.Query{Kinds: watch.Acked, Limit: 1}
	for _, kinds := range []watch.Kind{watch.AllKinds, q.Kinds} {
		p, err := s.ReadEvents(t.Context(), watch.Query{Kinds: kinds, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		q.After = p.Next
	}
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	var users atomic.Int64
	write := func() { connect(t, other, fmt.Sprint("user", users.Add(1))) }
	for range 200 {
		write()
	}
	for range 32 { // they overtake the reader, whose reads are of one event each
		writing.Go(func() {
			for ctx.Err() == nil {
				write()
			}
		})
	}
	defer writing.Wait()
	defer stop()
	waits := q
	waits.Wait = time.Hour
	failed := make(chan error, 1)
	go func() {
		_, err := s.ReadEvents(t.Context(), waits)
		failed <- err
	}()
	if p, err := s.ReadEvents(t.Context(), q); err != nil || len(p.Events) != 0 || p.Next.String() == q.After.String() {
		t.Errorf("without waiting: %v, to %v, %v", p.Events, p.Next, err)
	}
	s.Close()
	if err := <-failed; !errors.Is(err, history.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
