package redis_test

import (
	"context"
	"crypto/rand"
	"testing"

	"pushd.example/internal/history"
	"pushd.example/internal/history/historytest"
	"pushd.example/internal/history/redis"
)

// opener opens engines for the suite, each under a prefix of its own.
func opener(url string, partitions int) historytest.Opener {
	return func(t testing.TB, o historytest.Options) historytest.Engine {
		c := redis.Config{
			URL: url, Node: "suite", Prefix: rand.Text() + ":", Partitions: partitions,
			Retention: o.Retention, Events: o.Events, Now: o.Now,
		}
		var current *redis.Store
		open := func() history.Store {
			current = openStore(t, c)
			return current
		}
		return historytest.Engine{
			Store: open(), Reopen: open, Partitioned: partitions > 1,
			Align: func(p history.Push, id history.ID) history.ID { return redis.Align(current, p, id) },
			Settle: func() {
				if err := redis.Settle(context.Background(), current); err != nil {
					t.Errorf("waiting until all appended messages were delivered: %v", err)
				}
			},
		}
	}
}

func openStore(t testing.TB, c redis.Config) *redis.Store {
	t.Helper()
	s, err := redis.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) { historytest.Run(t, opener(shared.URL(), 1)) }

func TestStateMachine(t *testing.T) { historytest.StateMachine(t, opener(shared.URL(), 1)) }

// TestPartitions runs the suite on what a Cluster has, without a Cluster.
func TestPartitions(t *testing.T) { historytest.Run(t, opener(shared.URL(), 16)) }

func TestPartitionsStateMachine(t *testing.T) { historytest.StateMachine(t, opener(shared.URL(), 16)) }
