package chaos_test

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pushd.example/internal/chaos"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

var (
	duration = flag.Duration("chaos.duration", 4*time.Second, "how long faults go on in each run")
	seedFlag = flag.Uint64("chaos.seed", 0, "what a run draws from; 0 makes one up")
)

// pushd is the binary that the tests run, built with the race detector.
var pushd string

func TestMain(m *testing.M) {
	flag.Parse()
	testkit.MainWith(m, func(dir string) (func(), error) {
		pushd = filepath.Join(dir, "pushd")
		out, err := exec.Command("go", "build", "-race", "-o", pushd, "pushd.example/cmd/pushd").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("building pushd: %w\n%s", err, out)
		}
		return nil, err
	})
}

// run is one run: nodes, who pushes and who listens while faults strike, and
// what they write down.
type run struct {
	*testing.T
	seed  uint64
	began time.Time
	nodes []node
	users []string
	// durabilities is what publishers draw from.
	durabilities []history.Durability

	mu     sync.Mutex // guards what follows
	record chaos.Record
	calls  tally
}

// tally says what pushing was like.
type tally struct {
	ok, failed, unknown int // attempts
	slowest             time.Duration
	delivered           int
	sessions            int
}

// newRun draws a seed and prints it.
func newRun(t *testing.T) *run {
	r := &run{T: t, seed: *seedFlag, began: time.Now(), durabilities: []history.Durability{history.AsConfigured}}
	if r.seed == 0 {
		r.seed = rand.Uint64N(1 << 32)
	}
	for i := range 6 {
		r.users = append(r.users, fmt.Sprintf("u%d", i))
	}
	t.Logf("replay with -run '^%s$' -chaos.seed %d -chaos.duration %v", t.Name(), r.seed, *duration)
	return r
}

// rand returns the choices of one actor: its own, so that the order in which
// actors come to draw changes nothing.
func (r *run) rand(actor string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(actor))
	return rand.New(rand.NewPCG(r.seed, h.Sum64()))
}

// play pushes and listens while faults strike, heals, reads everything, and
// reports what was violated.
func (r *run) play(faults ...fault) {
	r.Helper()
	var publishers, readers sync.WaitGroup
	pushing, stopPushing := context.WithCancel(context.Background())
	reading, stopReading := context.WithCancel(context.Background())
	defer readers.Wait()
	defer stopReading()
	defer publishers.Wait()
	defer stopPushing()

	var clients []*client
	for i, user := range slices.Concat(r.users, r.users[:2]) { // two users have two
		c := newClient(r, fmt.Sprintf("%s/%d", user, i), user)
		clients = append(clients, c)
		readers.Go(func() { c.run(reading) })
	}
	for i := range 4 {
		publishers.Go(func() { r.publish(pushing, fmt.Sprintf("p%d", i)) })
	}
	r.strike(faults)
	r.awaitReady()
	stopPushing()
	publishers.Wait()

	// A push that its publisher gave up may arrive late, so it is read until
	// two readings are alike.
	for before := r.readHistories(); ; before = r.record.Histories {
		for _, c := range clients {
			if missing := c.settle(before[c.user]); missing > 0 {
				r.Logf("%s still misses %d messages, which the checker will name", c.user, missing)
			}
		}
		r.record.Histories = r.readHistories()
		if reflect.DeepEqual(before, r.record.Histories) {
			break
		}
	}
	stopReading()
	readers.Wait()
	for _, c := range clients {
		r.record.Clients = append(r.record.Clients, c.life)
		r.calls.sessions += len(c.life.Sessions)
		r.calls.delivered += len(c.seen)
	}
	r.judge()
}

// judge reports what the checker finds, and what the run was like.
func (r *run) judge() {
	r.Helper()
	violations := r.record.Check()
	for _, v := range violations[:min(len(violations), 20)] {
		r.Errorf("%v", v)
	}
	if len(violations) > 20 {
		r.Errorf("and %d more", len(violations)-20)
	}
	messages := 0
	for _, h := range r.record.Histories {
		messages += len(h.Messages)
	}
	r.Logf("%d pushes in %v: attempts %d ok, %d failed, %d unknown, slowest %v; %d entries in %d histories; %d delivered in %d sessions",
		len(r.record.Pushes), time.Since(r.began).Round(time.Millisecond), r.calls.ok, r.calls.failed, r.calls.unknown,
		r.calls.slowest.Round(time.Millisecond), messages, len(r.users), r.calls.delivered, r.calls.sessions)
	if r.calls.ok == 0 || r.calls.delivered == 0 {
		r.Error("a run in which nothing worked shows nothing")
	}
}

// awaitReady waits until every node says that it is well: by itself, since all
// faults are over.
func (r *run) awaitReady() {
	r.Helper()
	for _, n := range r.nodes {
		r.eventually("a node to be ready again", func(ctx context.Context) error { return n.ready(ctx) })
	}
}

// readHistories reads the whole history of each user, each through a node.
func (r *run) readHistories() map[string]chaos.History {
	r.Helper()
	all := map[string]chaos.History{}
	for i, user := range r.users {
		n := r.nodes[i%len(r.nodes)]
		var h chaos.History
		var after history.Cursor
		for more := true; more; {
			r.eventually("the history of "+user, func(ctx context.Context) error {
				p, err := n.page(ctx, user, after)
				if err != nil {
					return err
				}
				h.Messages = append(h.Messages, p.messages...)
				h.Unread, after, more = p.unread, p.cursor, p.more
				return nil
			})
		}
		all[user] = h
	}
	return all
}

// eventually calls try until it returns nil. A call that hangs is given up when
// the wait is over.
func (r *run) eventually(what string, try func(context.Context) error) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	testkit.WaitForSuccess(r, what, func() error { return try(ctx) })
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// upTo draws a time below most.
func upTo(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}
