package redistest_test

import (
	"testing"

	"pushd.example/internal/redistest"
)

func TestSentinel(t *testing.T) {
	c := redistest.StartSentinel(t, redistest.Options{AOF: true, Password: "secret"})
	want := "redis-sentinel://:secret@" + c.Sentinels[0].Addr() + "," + c.Sentinels[1].Addr() + "," + c.Sentinels[2].Addr() + "/pushd?db=0"
	if c.URL() != want {
		t.Errorf("URL %s, want %s", c.URL(), want)
	}
	old, err := c.Master(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	do(t, old, "SET", "k", "v")
	do(t, old, "WAIT", 1, 5000)
	if err := c.Failover(t.Context()); err != nil {
		t.Fatal(err)
	}
	next, err := c.Master(t.Context())
	if err != nil || next == old {
		t.Fatalf("the master is still %s, %v", old.Addr(), err)
	}
	if got := do(t, next, "GET", "k"); got != "v" {
		t.Errorf("after the failover k is %v", got)
	}
	if err := c.AwaitReady(); err != nil {
		t.Fatal(err)
	}
	// The same by force, and the dead one comes back as a replica.
	next.Kill()
	if err := c.AwaitMasterOtherThan(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if err := next.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitReady(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		if got := do(t, n, "GET", "k"); got != "v" {
			t.Errorf("in the end k is %v at %s", got, n.Addr())
		}
	}
	replica, err := c.Replica(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if role, err := replica.Info(t.Context(), "role"); role != "slave" {
		t.Errorf("the replica is a %s, %v", role, err)
	}
}
