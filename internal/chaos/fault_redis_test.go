package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"pushd.example/internal/redistest"
	"pushd.example/internal/testkit"
)

// restart is kill -9 of a server that is started again with what it kept.
func restart(s *redistest.Server) fault {
	return fault{"kill -9 of Redis", func(ctx context.Context, rng *rand.Rand) error {
		s.Kill()
		pause(ctx, upTo(rng, 500*time.Millisecond))
		return s.Restart()
	}}
}

// freeze is kill -STOP of a server: for 10 s in runs that are long enough. The
// nodes give up waiting after 3 s.
func freeze(s *redistest.Server) fault {
	longest := min(10*time.Second, *duration/2)
	return fault{"SIGSTOP of Redis", func(ctx context.Context, rng *rand.Rand) error {
		if err := s.Pause(); err != nil {
			return err
		}
		pause(ctx, longest/2+upTo(rng, longest/2))
		return s.Resume()
	}}
}

// cutClients has a server close all connections of a kind every 100 ms.
func cutClients(kind string, servers ...*redistest.Server) fault {
	return fault{"CLIENT KILL TYPE " + kind, func(ctx context.Context, rng *rand.Rand) error {
		for range 3 + rng.IntN(10) {
			for _, s := range servers {
				if err := s.KillClients(kind); err != nil {
					return err
				}
			}
			pause(ctx, 100*time.Millisecond)
		}
		return nil
	}}
}

// loseAnswers cuts connections after an append went out: some were done, and
// some were not.
func loseAnswers(p *redistest.Proxy) fault {
	return fault{"cut after the request went out", func(ctx context.Context, rng *rand.Rand) error {
		for range 5 + rng.IntN(20) {
			// EVALSHA, and the pipeline that it is in.
			lose := p.LoseReply
			if rng.IntN(3) == 0 {
				lose = p.LoseRequest
			}
			select {
			case <-lose("evalsha"):
			case <-time.After(testkit.Patience):
				return errors.New("nobody asked for anything")
			}
			pause(ctx, upTo(rng, 50*time.Millisecond))
		}
		return nil
	}}
}

// cutOff takes the way to Redis from one node only.
func cutOff(p *redistest.Proxy) fault {
	return fault{"one node cut off", func(ctx context.Context, rng *rand.Rand) error {
		p.Refuse(true)
		defer p.Refuse(false)
		p.Cut()
		pause(ctx, upTo(rng, time.Second))
		return nil
	}}
}

// dropPackets lets nothing through to one node or from it, while connections
// stay open.
func dropPackets(p *redistest.Proxy) fault {
	return fault{"packets of one node dropped", func(ctx context.Context, rng *rand.Rand) error {
		p.Stall()
		defer p.Flow()
		pause(ctx, upTo(rng, 2*time.Second))
		return nil
	}}
}

// promote makes the replica master by the Sentinels' own hand.
func promote(c *redistest.Sentinel) fault {
	return fault{"a failover that was asked for", func(ctx context.Context, _ *rand.Rand) error {
		if err := c.Failover(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		return c.AwaitReady()
	}}
}

// killMaster kills the master, which comes back as a replica when another has
// taken its place.
func killMaster(c *redistest.Sentinel) fault {
	return fault{"kill -9 of the master", func(ctx context.Context, _ *rand.Rand) error {
		ctx = context.WithoutCancel(ctx)
		master, err := c.Master(ctx)
		if err != nil {
			return err
		}
		master.Kill()
		return succeed(ctx, c, master)
	}}
}

// succeed waits until a killed master has a successor, and brings it back.
func succeed(ctx context.Context, c *redistest.Sentinel, killed *redistest.Server) error {
	if err := c.AwaitMasterOtherThan(ctx, killed); err != nil {
		return err
	}
	if err := killed.Restart(); err != nil {
		return err
	}
	return c.AwaitReady()
}

// loseTail kills a master whose replica lacks what was answered last. Without
// CLIENT KILL the socket's buffer would bring the replica all of it when it
// goes on. It must be quick: Sentinels promote nobody who was cut off for more
// than 30 s when the master died.
func (r *run) loseTail(c *redistest.Sentinel) fault {
	return fault{"a tail that no replica had", func(ctx context.Context, _ *rand.Rand) error {
		ctx = context.WithoutCancel(ctx)
		master, err := c.Master(ctx)
		if err != nil {
			return err
		}
		replica, err := c.Replica(ctx)
		if err != nil {
			return err
		}
		if err := replica.Pause(); err != nil {
			return err
		}
		if err := master.KillClients("replica"); err != nil {
			return err
		}
		r.awaitAnswers(5)
		master.Kill()
		if err := replica.Resume(); err != nil {
			return err
		}
		return succeed(ctx, c, master)
	}}
}

// awaitAnswers waits until n more pushes were answered OK.
func (r *run) awaitAnswers(n int) {
	answers := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.calls.ok
	}
	before := answers()
	r.eventually("pushes to be answered", func(ctx context.Context) error {
		if got := answers() - before; got < n {
			return fmt.Errorf("%d were, of %d", got, n)
		}
		return nil
	})
}

// killShard kills a master of a Cluster and brings it back when its replica has
// taken over.
func killShard(c *redistest.Cluster) fault {
	return fault{"kill -9 of a master", func(ctx context.Context, rng *rand.Rand) error {
		ctx = context.WithoutCancel(ctx)
		master, replica, err := drawShard(ctx, c, rng)
		if err != nil {
			return err
		}
		master.Kill()
		if err := c.AwaitMaster(ctx, replica); err != nil {
			return err
		}
		if err := master.Restart(); err != nil {
			return err
		}
		return c.AwaitReady()
	}}
}

// promoteShard makes a replica of a Cluster take its master's place.
func promoteShard(c *redistest.Cluster) fault {
	return fault{"a failover that was asked for", func(ctx context.Context, rng *rand.Rand) error {
		ctx = context.WithoutCancel(ctx)
		master, _, err := drawShard(ctx, c, rng)
		if err != nil {
			return err
		}
		return c.Failover(ctx, master)
	}}
}

func drawShard(ctx context.Context, c *redistest.Cluster, rng *rand.Rand) (master, replica *redistest.Server, err error) {
	masters, err := c.Masters(ctx)
	if err != nil {
		return nil, nil, err
	}
	master = masters[rng.IntN(len(masters))]
	replica, err = c.ReplicaOf(ctx, master)
	return master, replica, err
}

// moveSlot moves a slot that is in use to another master.
func moveSlot(c *redistest.Cluster) fault {
	return fault{"a slot on the move", func(ctx context.Context, rng *rand.Rand) error {
		ctx = context.WithoutCancel(ctx)
		slot, err := c.BusySlot(ctx)
		if err != nil {
			return err
		}
		masters, err := c.Masters(ctx)
		if err != nil {
			return err
		}
		return c.MoveSlot(ctx, slot, masters[rng.IntN(len(masters))], time.Millisecond)
	}}
}
