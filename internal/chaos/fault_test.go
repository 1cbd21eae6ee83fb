package chaos_test

import (
	"context"
	"math/rand/v2"
	"time"
)

// fault is something that goes wrong for a while.
type fault struct {
	name string
	// strike breaks something and mends it before it returns, also when ctx
	// ends first.
	strike func(ctx context.Context, rng *rand.Rand) error
}

// strike makes faults happen, one after the other with pauses, until the run's
// duration is over; each happens at least once.
func (r *run) strike(faults []fault) {
	r.Helper()
	rng := r.rand("faults")
	ctx, cancel := context.WithTimeout(context.Background(), *duration)
	defer cancel()
	whole := context.WithoutCancel(ctx)
	for i, next := range rng.Perm(len(faults)) {
		pause(whole, 300*time.Millisecond) // something to lose
		r.strikeOne(whole, rng, faults[next], i)
	}
	if len(faults) == 0 {
		<-ctx.Done()
	}
	for i := len(faults); ctx.Err() == nil && !r.Failed(); i++ {
		pause(ctx, upTo(rng, 500*time.Millisecond))
		r.strikeOne(ctx, rng, faults[rng.IntN(len(faults))], i)
	}
}

func (r *run) strikeOne(ctx context.Context, rng *rand.Rand, f fault, n int) {
	r.Helper()
	since := time.Since(r.began)
	if err := f.strike(ctx, rng); err != nil {
		r.Errorf("fault %d, %s: %v", n, f.name, err)
		return
	}
	r.Logf("%v: %s, for %v", since.Round(time.Millisecond), f.name, (time.Since(r.began) - since).Round(time.Millisecond))
}

// killNode kills a node's process and starts it again.
func killNode(p *process) fault {
	return fault{"kill -9 of a pushd", func(ctx context.Context, rng *rand.Rand) error {
		p.kill()
		pause(ctx, upTo(rng, 500*time.Millisecond))
		return p.start()
	}}
}
