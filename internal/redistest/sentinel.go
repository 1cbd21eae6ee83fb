package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// MasterName is what the Sentinels call the master.
const MasterName = "pushd"

// Sentinel is a master with a replica, watched by three Sentinels. A master counts as
// failed after three seconds of silence.
type Sentinel struct {
	// Nodes are the two data servers, the first master first.
	Nodes []*Server
	// Sentinels are the three watchers.
	Sentinels []*Server

	password string
}

// StartSentinel starts the five servers and returns when every Sentinel knows
// all others.
func StartSentinel(t testing.TB, o Options) *Sentinel {
	t.Helper()
	c := &Sentinel{password: o.Password}
	if err := c.start(t, o); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *Sentinel) start(t testing.TB, o Options) error {
	var master []string
	for range 2 {
		s, err := newServer(t.TempDir(), o, master...)
		if err != nil {
			return err
		}
		t.Cleanup(func() { s.end(t) })
		if err := s.Restart(); err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, s)
		master = []string{fmt.Sprintf("replicaof 127.0.0.1 %d", s.port.number)}
	}
	if err := c.Nodes[1].awaitReplication(); err != nil {
		return err
	}
	for range 3 {
		s, err := newSentinel(t.TempDir(), c.Nodes[0].port.number, o)
		if err != nil {
			return err
		}
		t.Cleanup(func() { s.end(t) })
		if err := s.Restart(); err != nil {
			return err
		}
		if err := s.hurry(); err != nil {
			return err
		}
		c.Sentinels = append(c.Sentinels, s)
	}
	return c.AwaitReady()
}

func newSentinel(dir string, master int, o Options) (*Server, error) {
	s, err := newServer(dir, Options{})
	if err != nil {
		return nil, err
	}
	quoted := strconv.Quote(o.Password)
	lines := []string{
		fmt.Sprintf("port %d", s.port.number), "bind 127.0.0.1", "dir " + dir, "daemonize no", "logfile \"\"",
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", MasterName, master),
		"sentinel down-after-milliseconds " + MasterName + " 3000",
		"sentinel failover-timeout " + MasterName + " 3000",
	}
	if o.Password != "" {
		lines = append(lines, "sentinel auth-pass "+MasterName+" "+quoted)
	}
	if o.GuardSentinels {
		s.password = o.Password
		lines = append(lines, "requirepass "+quoted, "sentinel sentinel-pass "+quoted)
	}
	s.argv = append(s.argv, "--sentinel")
	return s, os.WriteFile(filepath.Join(dir, "redis.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// hurry makes a Sentinel look for replicas and for other Sentinels ten times as often
// as it does by default, which is every 10 s and every 2 s. PING-PERIOD
// stays: a fifth of the age at which a replica is too unknown to be promoted,
// while Sentinel asks it once a second at best.
func (s *Server) hurry() error {
	_, err := s.Do(context.Background(), "SENTINEL", "DEBUG", "INFO-PERIOD", 500, "PUBLISH-PERIOD", 200,
		"ASK-PERIOD", 100, "ELECTION-TIMEOUT", 1000, "MIN-LINK-RECONNECT-PERIOD", 500)
	if err != nil {
		return fmt.Errorf("hurrying a Sentinel: %w", err)
	}
	return nil
}

// awaitReplication waits until a replica has all that its master has.
func (s *Server) awaitReplication() error {
	return await("replication at "+s.Addr(), func() error {
		info, err := s.Do(context.Background(), "INFO", "replication")
		if err != nil {
			return err
		}
		if up := infoField(info.(string), "master_link_status"); up != "up" {
			return fmt.Errorf("the link to the master is %q", up)
		}
		return nil
	})
}

// URL returns where the Sentinels are, as pushd's -redis takes it.
func (c *Sentinel) URL() string {
	return "redis-sentinel://" + userinfo(c.password) + join(c.Sentinels) + "/" + MasterName + "?db=0"
}

func join(servers []*Server) string {
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.Addr())
	}
	return strings.Join(addrs, ",")
}

// Master returns the server that a Sentinel calls the master.
func (c *Sentinel) Master(ctx context.Context) (*Server, error) {
	errs := errors.New("no Sentinel answers")
	for _, s := range c.Sentinels {
		m, err := c.masterOf(ctx, s)
		if err == nil {
			return m, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

// masterOf returns the server that the Sentinel s calls the master.
func (c *Sentinel) masterOf(ctx context.Context, s *Server) (*Server, error) {
	got, err := s.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName)
	if err != nil {
		return nil, err
	}
	pair := got.([]any)
	addr := net.JoinHostPort(pair[0].(string), pair[1].(string))
	for _, n := range c.Nodes {
		if n.Addr() == addr {
			return n, nil
		}
	}
	return nil, fmt.Errorf("the master is said to be at %s, where nobody is", addr)
}

// agreed returns the server that all Sentinels that run call the master.
func (c *Sentinel) agreed(ctx context.Context) (*Server, error) {
	var master *Server
	for _, s := range c.Sentinels {
		if s.PID() == 0 {
			continue
		}
		m, err := c.masterOf(ctx, s)
		if err != nil {
			return nil, err
		}
		if master != nil && m != master {
			return nil, fmt.Errorf("%s and %s are both said to be it", m.Addr(), master.Addr())
		}
		master = m
	}
	if master == nil {
		return nil, errors.New("no Sentinel runs")
	}
	return master, nil
}

// Replica returns the data server that is not the master.
func (c *Sentinel) Replica(ctx context.Context) (*Server, error) {
	m, err := c.Master(ctx)
	if err != nil {
		return nil, err
	}
	if m == c.Nodes[0] {
		return c.Nodes[1], nil
	}
	return c.Nodes[0], nil
}

// Failover asks for a change of master, as an operator does, and returns when
// the Sentinels agree on the new one.
func (c *Sentinel) Failover(ctx context.Context) error {
	old, err := c.Master(ctx)
	if err != nil {
		return err
	}
	// A Sentinel refuses while its own link to the replica is broken, and gives
	// up if the replica takes too long.
	err = await("a Sentinel to see a failover through", func() error {
		m, err := c.masterOf(ctx, c.Sentinels[0])
		if err != nil || m != old {
			return err
		}
		if _, err := c.Sentinels[0].Do(ctx, "SENTINEL", "FAILOVER", MasterName); err != nil {
			return err
		}
		return errors.New("it has begun")
	})
	if err != nil {
		return err
	}
	return c.AwaitMasterOtherThan(ctx, old)
}

// AwaitMasterOtherThan waits until the Sentinels agree on another master than
// old, and it takes writes.
func (c *Sentinel) AwaitMasterOtherThan(ctx context.Context, old *Server) error {
	return await("a new master", func() error {
		if err := ctx.Err(); err != nil {
			return permanent{err}
		}
		m, err := c.agreed(ctx)
		if err != nil {
			return err
		}
		if m == old {
			return errors.New("it is still the old one")
		}
		role, err := m.Info(ctx, "role")
		if err == nil && role != "master" {
			err = fmt.Errorf("%s is a %s", m.Addr(), role)
		}
		return err
	})
}

// AwaitReady waits until every Sentinel knows the two others and a replica that
// it could promote.
func (c *Sentinel) AwaitReady() error {
	return await("three Sentinels that know each other", func() error {
		if _, err := c.agreed(context.Background()); err != nil {
			return err
		}
		for _, s := range c.Sentinels {
			info, err := s.Do(context.Background(), "INFO", "sentinel")
			if err != nil {
				return err
			}
			line := infoField(info.(string), "master0")
			if !strings.Contains(line, "status=ok") || !strings.HasSuffix(line, "slaves=1,sentinels=3") {
				return errors.New(line)
			}
			if err := s.replicaOK(); err != nil {
				return err
			}
		}
		return nil
	})
}

// replicaOK asks a Sentinel whether the replica's link to the master is up.
func (s *Server) replicaOK() error {
	got, err := s.Do(context.Background(), "SENTINEL", "REPLICAS", MasterName)
	if err != nil {
		return err
	}
	text := fmt.Sprint(got)
	if !strings.Contains(text, "master-link-status ok") || !strings.Contains(text, "flags slave ") {
		return fmt.Errorf("the replica is not linked: %s", text)
	}
	return nil
}
