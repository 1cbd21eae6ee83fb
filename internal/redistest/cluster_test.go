package redistest_test

import (
	"fmt"
	"strings"
	"testing"

	"pushd.example/internal/redistest"
)

func TestCluster(t *testing.T) {
	c := redistest.StartCluster(t, redistest.Options{AOF: true})
	if !strings.HasPrefix(c.URL(), "redis-cluster://127.0.0.1:") || strings.Count(c.URL(), ",") != 5 {
		t.Errorf("URL %s", c.URL())
	}
	if slot, err := c.BusySlot(t.Context()); err == nil {
		t.Errorf("slot %d of an empty Cluster is busy", slot)
	}
	slot, err := c.Slot(t.Context(), "{x}0")
	if err != nil {
		t.Fatal(err)
	}
	owner, err := c.Owner(t.Context(), slot)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		do(t, owner, "SET", fmt.Sprintf("{x}%d", i), i)
	}
	if busy, err := c.BusySlot(t.Context()); err != nil || busy != slot {
		t.Errorf("slot %d is busy, %v; want %d", busy, err, slot)
	}
	masters, err := c.Masters(t.Context())
	if err != nil || len(masters) != 3 {
		t.Fatalf("masters %v, %v", masters, err)
	}
	to := masters[0]
	if to == owner {
		to = masters[1]
	}
	if err := c.MoveSlot(t.Context(), slot, to, 0); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, to)

	replica, err := c.ReplicaOf(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Failover(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, replica)

	// By force, and the dead one comes back as a replica.
	replica.Kill()
	if err := c.AwaitMaster(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, to)
	if err := replica.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitReady(); err != nil {
		t.Fatal(err)
	}
	if r, err := c.ReplicaOf(t.Context(), to); err != nil || r != replica {
		t.Errorf("the replica is %v, %v; want the one that was killed", r, err)
	}
}

// wantKeys requires that s serves the keys of the test.
func wantKeys(t *testing.T, s *redistest.Server) {
	t.Helper()
	for i := range 10 {
		if got := do(t, s, "GET", fmt.Sprintf("{x}%d", i)); got != fmt.Sprint(i) {
			t.Errorf("key %d is %v", i, got)
		}
	}
}
