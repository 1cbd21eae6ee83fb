package chaos_test

import (
	"testing"

	"pushd.example/internal/chaos"
	"pushd.example/internal/history"
	"pushd.example/internal/history/redis"
	"pushd.example/internal/redistest"
)

// onRedis makes three nodes that share a Redis: one in this process, which
// reaches it at its own address, and two in processes of their own, the second
// of which may be killed.
func (r *run) onRedis(url, own string, args ...string) (mortal *process) {
	r.Helper()
	store, err := redis.Open(r.Context(), redis.Config{URL: own, Node: "own", Retention: everything})
	if err != nil {
		r.Fatal(err)
	}
	args = append([]string{"-redis", url}, args...)
	mortal = newProcess(r, args...)
	r.nodes = []node{newInProcess(r, store), newProcess(r, args...), mortal}
	return mortal
}

// TestStandalone lets everything happen to one Redis that can: it forgets
// nothing over its death.
func TestStandalone(t *testing.T) {
	r := newRun(t)
	s := redistest.Start(t, redistest.Options{AOF: true})
	proxy := redistest.NewProxy(t, s.Addr())
	mortal := r.onRedis(s.URL(), proxy.URL())
	r.play(killNode(mortal), restart(s), freeze(s), cutClients("normal", s), cutClients("pubsub", s),
		loseAnswers(proxy), cutOff(proxy), dropPackets(proxy))
}

// TestSentinel moves the master about. Answered messages are with a replica, so
// they are there; others may have been seen and be gone.
func TestSentinel(t *testing.T) {
	r := newRun(t)
	r.record.MayLose, r.durabilities = true, []history.Durability{history.Replicated}
	c := redistest.StartSentinel(t, redistest.Options{AOF: true})
	mortal := r.onRedis(c.URL(), c.URL())
	r.play(killNode(mortal), promote(c), killMaster(c), cutClients("normal", c.Nodes...))
}

// TestLostTail kills masters whose replica lacks the last answers. Messages
// that were to be replicated are there, and nothing else changes its id or its order.
func TestLostTail(t *testing.T) {
	r := newRun(t)
	r.record.MayLose, r.durabilities = true, []history.Durability{history.Memory, history.Memory, history.Memory, history.Replicated}
	c := redistest.StartSentinel(t, redistest.Options{AOF: true})
	r.onRedis(c.URL(), c.URL())
	r.play(r.loseTail(c))
	// The run shows something only if a tail was truly lost.
	r.record.MayLose = false
	lost := 0
	for _, v := range r.record.Check() {
		if v.Kind == chaos.Lost {
			lost++
		}
	}
	if t.Logf("%d messages were lost that durability memory had promised nothing of", lost); lost == 0 {
		t.Error("no tail was lost")
	}
}

// TestCluster moves masters and slots about.
func TestCluster(t *testing.T) {
	r := newRun(t)
	r.record.MayLose, r.record.Partitioned, r.durabilities = true, true, []history.Durability{history.Replicated}
	c := redistest.StartCluster(t, redistest.Options{AOF: true})
	mortal := r.onRedis(c.URL(), c.URL())
	r.play(killNode(mortal), promoteShard(c), killShard(c), moveSlot(c), cutClients("normal", c.Nodes...))
}
