package redistest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Failover makes the replica of master take its place, as an operator does
// before maintenance, and waits until all nodes know.
func (c *Cluster) Failover(ctx context.Context, master *Server) error {
	replica, err := c.ReplicaOf(ctx, master)
	if err != nil {
		return err
	}
	if _, err := replica.Do(ctx, "CLUSTER", "FAILOVER"); err != nil {
		return fmt.Errorf("asking for a failover: %w", err)
	}
	return c.AwaitMaster(ctx, replica)
}

// AwaitMaster waits until s is a master and all nodes that run know.
func (c *Cluster) AwaitMaster(ctx context.Context, s *Server) error {
	id, err := s.id(ctx)
	if err != nil {
		return err
	}
	err = await(s.Addr()+" to become a master", func() error {
		if err := ctx.Err(); err != nil {
			return permanent{err}
		}
		for _, n := range c.Nodes {
			if n.PID() == 0 {
				continue
			}
			got, err := n.Do(ctx, "CLUSTER", "NODES")
			if err != nil {
				return err
			}
			if !masterIn(got.(string), id) {
				return fmt.Errorf("%s does not know", n.Addr())
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.AwaitReady()
}

// masterIn reports whether CLUSTER NODES lists id as a master that has slots.
func masterIn(nodes, id string) bool {
	for line := range strings.Lines(nodes) {
		f := strings.Fields(line)
		if len(f) > 8 && f[0] == id && strings.Contains(f[2], "master") {
			return true
		}
	}
	return false
}

// BusySlot returns a slot that has keys.
func (c *Cluster) BusySlot(ctx context.Context) (int, error) {
	masters, err := c.Masters(ctx)
	if err != nil {
		return 0, err
	}
	for _, i := range rand.Perm(len(masters)) {
		s := masters[i]
		key, err := s.Do(ctx, "RANDOMKEY")
		if err != nil {
			return 0, err
		}
		if key != nil {
			return c.Slot(ctx, key.(string))
		}
	}
	return 0, errors.New("the Cluster is empty")
}

// MoveSlot gives a slot with its keys to another master, a key at a time, as
// redis-cli --cluster reshard does. It pauses between two keys, so that clients see
// the slot half moved.
func (c *Cluster) MoveSlot(ctx context.Context, slot int, to *Server, pause time.Duration) error {
	from, err := c.Owner(ctx, slot)
	if err != nil || from == to {
		return err
	}
	fromID, err := from.id(ctx)
	if err != nil {
		return err
	}
	toID, err := to.id(ctx)
	if err != nil {
		return err
	}
	if _, err := to.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID); err != nil {
		return fmt.Errorf("importing slot %d: %w", slot, err)
	}
	if _, err := from.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID); err != nil {
		return fmt.Errorf("migrating slot %d: %w", slot, err)
	}
	if err := c.moveKeys(ctx, slot, from, to, pause); err != nil {
		return err
	}
	// The new owner first, so that the slot is never without one.
	for _, s := range []*Server{to, from} {
		if _, err := s.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", toID); err != nil {
			return fmt.Errorf("giving slot %d: %w", slot, err)
		}
	}
	return await(fmt.Sprintf("slot %d at %s", slot, to.Addr()), func() error {
		if owner, err := c.Owner(ctx, slot); err != nil || owner != to {
			return errors.Join(errors.New("it is not there"), err)
		}
		return c.AwaitReady()
	})
}

func (c *Cluster) moveKeys(ctx context.Context, slot int, from, to *Server, pause time.Duration) error {
	for {
		keys, err := from.Do(ctx, "CLUSTER", "GETKEYSINSLOT", slot, 1)
		if err != nil {
			return err
		}
		if len(keys.([]any)) == 0 {
			return nil
		}
		args := []any{"MIGRATE", "127.0.0.1", to.port.number, "", 0, 5000}
		if c.password != "" {
			args = append(args, "AUTH", c.password)
		}
		if _, err := from.Do(ctx, append(append(args, "KEYS"), keys.([]any)...)...); err != nil {
			return fmt.Errorf("moving key %q: %w", keys, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
