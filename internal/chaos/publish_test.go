package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"pushd.example/internal/chaos"
	"pushd.example/internal/history"
)

const (
	tick = 5 * time.Millisecond
	// attemptTimeout is how long a publisher waits for an answer.
	attemptTimeout = 3 * time.Second
)

// publish pushes until ctx ends, each message through nodes that it draws.
func (r *run) publish(ctx context.Context, name string) {
	rng := r.rand(name)
	for i := 0; ctx.Err() == nil; i++ {
		p := r.draw(rng, fmt.Sprintf("%s-%d", name, i))
		pushed := r.attempt(ctx, rng, p)
		r.mu.Lock()
		r.record.Pushes = append(r.record.Pushes, pushed)
		r.mu.Unlock()
		pause(ctx, upTo(rng, 2*tick))
	}
}

// draw returns a message: most are unicasts.
func (r *run) draw(rng *rand.Rand, key string) history.Push {
	p := history.Push{IdempotencyKey: key, Data: body(key, rng.IntN(200)), Durability: r.durabilities[rng.IntN(len(r.durabilities))]}
	switch n := rng.IntN(10); {
	case n < 6:
		p.Kind, p.Users = history.Unicast, []string{r.users[rng.IntN(len(r.users))]}
	case n < 9:
		p.Kind = history.Multicast
		for _, i := range rng.Perm(len(r.users))[:2+rng.IntN(len(r.users)-2)] {
			p.Users = append(p.Users, r.users[i])
		}
	default:
		p.Kind = history.Broadcast
	}
	return p
}

// attempt pushes p, again with the same key while it does not succeed, and
// sometimes gives up.
func (r *run) attempt(ctx context.Context, rng *rand.Rand, p history.Push) chaos.Push {
	out := chaos.Push{Key: p.IdempotencyKey, Kind: p.Kind, Users: p.Users, Outcome: chaos.Failed,
		Replicated: p.Durability == history.Replicated, Invoked: time.Since(r.began)}
	for range 1 + rng.IntN(6) {
		n := r.nodes[rng.IntN(len(r.nodes))]
		// Calls that were begun are waited for also when the run ends.
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
		since := time.Now()
		id, err := n.push(call, p)
		took := time.Since(since)
		cancel()
		r.count(err, took)
		switch {
		case err == nil:
			out.Outcome, out.ID, out.Returned = chaos.OK, id, time.Since(r.began)
			return out
		case !errors.Is(err, errFailed):
			out.Outcome = chaos.Unknown
		}
		pause(ctx, upTo(rng, 10*tick))
	}
	out.Returned = time.Since(r.began)
	return out
}

func (r *run) count(err error, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls.slowest = max(r.calls.slowest, took)
	switch {
	case err == nil:
		r.calls.ok++
	case errors.Is(err, errFailed):
		r.calls.failed++
	default:
		r.calls.unknown++
	}
}
