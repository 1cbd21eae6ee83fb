package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Cluster is three masters, each with a replica. A node counts as failed after three
// seconds of silence: a busy machine, or its disk, may stop one for a second.
type Cluster struct {
	// Nodes are all six servers. At first the first three are masters, and
	// Nodes[i+3] is the replica of Nodes[i].
	Nodes []*Server

	password string
}

const (
	clusterMasters = 3
	clusterSlots   = 16384
)

// StartCluster starts the six servers and returns when all of them see a
// Cluster that serves every slot.
func StartCluster(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := &Cluster{password: o.Password}
	if err := c.start(t, o); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *Cluster) start(t testing.TB, o Options) error {
	var bus []*port
	for range 2 * clusterMasters {
		p, err := reservePort()
		if err != nil {
			return err
		}
		t.Cleanup(p.release)
		bus = append(bus, p)
		s, err := newServer(t.TempDir(), o,
			"cluster-enabled yes", fmt.Sprintf("cluster-port %d", p.number),
			"cluster-node-timeout 3000", "cluster-allow-replica-migration no", "cluster-replica-validity-factor 0")
		if err != nil {
			return err
		}
		t.Cleanup(func() { s.end(t) })
		if err := s.Restart(); err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, s)
	}
	if err := c.meet(bus); err != nil {
		return err
	}
	return c.AwaitReady()
}

// meet introduces the nodes to each other, and makes them masters with slots or
// replicas.
func (c *Cluster) meet(bus []*port) error {
	ctx := context.Background()
	for i, s := range c.Nodes {
		if _, err := s.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1); err != nil {
			return err
		}
		if i < clusterMasters {
			first, next := i*clusterSlots/clusterMasters, (i+1)*clusterSlots/clusterMasters
			if _, err := s.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", first, next-1); err != nil {
				return err
			}
		}
		if _, err := c.Nodes[0].Do(ctx, "CLUSTER", "MEET", "127.0.0.1", s.port.number, bus[i].number); err != nil {
			return err
		}
	}
	for i, s := range c.Nodes[clusterMasters:] {
		id, err := c.Nodes[i].id(ctx)
		if err != nil {
			return err
		}
		// A node can follow a master only when it knows it.
		err = await("a replica of "+c.Nodes[i].Addr(), func() error {
			_, err := s.Do(ctx, "CLUSTER", "REPLICATE", id)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) id(ctx context.Context) (string, error) {
	id, err := s.Do(ctx, "CLUSTER", "MYID")
	if err != nil {
		return "", fmt.Errorf("asking %s for its id: %w", s.Addr(), err)
	}
	return id.(string), nil
}

// URL returns where the nodes are, as pushd's -redis takes it.
func (c *Cluster) URL() string {
	return "redis-cluster://" + userinfo(c.password) + join(c.Nodes)
}

// AwaitReady waits until all running nodes see each other, every slot is served, and
// replicas are linked to their masters.
func (c *Cluster) AwaitReady() error {
	return await("a Cluster that serves all slots", func() error {
		for _, s := range c.Nodes {
			if s.PID() == 0 {
				continue
			}
			if err := c.nodeReady(s); err != nil {
				return fmt.Errorf("%s: %w", s.Addr(), err)
			}
		}
		return nil
	})
}

func (c *Cluster) nodeReady(s *Server) error {
	ctx := context.Background()
	got, err := s.Do(ctx, "CLUSTER", "INFO")
	if err != nil {
		return err
	}
	info := got.(string)
	if infoField(info, "cluster_state") != "ok" || infoField(info, "cluster_known_nodes") != fmt.Sprint(len(c.Nodes)) ||
		infoField(info, "cluster_slots_ok") != fmt.Sprint(clusterSlots) {
		return errors.New(strings.Join(strings.Fields(info), " "))
	}
	// A node that this one knows only from gossip has no flags yet, and a replica
	// is listed as a master without slots until it has announced itself.
	nodes, err := s.Do(ctx, "CLUSTER", "NODES")
	if err != nil {
		return err
	}
	replicas := strings.Count(nodes.(string), "slave ")
	if c.allRun() && replicas != clusterMasters || strings.Contains(nodes.(string), "handshake") {
		return fmt.Errorf("%d replicas:\n%s", replicas, nodes)
	}
	if role, err := s.Info(ctx, "role"); err != nil || role == "master" {
		return err
	}
	up, err := s.Info(ctx, "master_link_status")
	if err == nil && up != "up" {
		err = fmt.Errorf("the link to the master is %q", up)
	}
	return err
}

func (c *Cluster) allRun() bool {
	return !slices.ContainsFunc(c.Nodes, func(s *Server) bool { return s.PID() == 0 })
}

// Owner returns the master that serves a slot, as a node that runs sees it.
func (c *Cluster) Owner(ctx context.Context, slot int) (*Server, error) {
	var errs error
	for _, s := range c.Nodes {
		if s.PID() == 0 {
			continue
		}
		got, err := s.Do(ctx, "CLUSTER", "SLOTS")
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		for _, r := range got.([]any) {
			slots := r.([]any) // first, last, master, replicas
			if slots[0].(int64) <= int64(slot) && int64(slot) <= slots[1].(int64) {
				return c.byPort(slots[2].([]any)[1].(int64))
			}
		}
		return nil, fmt.Errorf("no node serves slot %d", slot)
	}
	return nil, errors.Join(errors.New("no node answers"), errs)
}

func (c *Cluster) byPort(port int64) (*Server, error) {
	for _, s := range c.Nodes {
		if int64(s.port.number) == port {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no node of the Cluster has port %d", port)
}

// Slot returns the slot of a key.
func (c *Cluster) Slot(ctx context.Context, key string) (int, error) {
	n, err := c.Nodes[0].Do(ctx, "CLUSTER", "KEYSLOT", key)
	if err != nil {
		return 0, err
	}
	return int(n.(int64)), nil
}

// Masters returns the nodes that are masters now.
func (c *Cluster) Masters(ctx context.Context) ([]*Server, error) {
	var masters []*Server
	for i := range clusterMasters {
		// The first slot of each third: no slot moves to a node that has none.
		s, err := c.Owner(ctx, i*clusterSlots/clusterMasters)
		if err != nil {
			return nil, err
		}
		masters = append(masters, s)
	}
	return masters, nil
}

// ReplicaOf returns the replica of a master.
func (c *Cluster) ReplicaOf(ctx context.Context, master *Server) (*Server, error) {
	for _, s := range c.Nodes {
		if s == master || s.PID() == 0 {
			continue
		}
		port, err := s.Info(ctx, "master_port")
		if err != nil {
			return nil, err
		}
		if port == fmt.Sprint(master.port.number) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s has no replica", master.Addr())
}
