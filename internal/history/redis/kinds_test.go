package redis_test

import (
	"errors"
	"flag"
	"strconv"
	"strings"
	"testing"

	"pushd.example/internal/history/historytest"
	"pushd.example/internal/history/redis"
	"pushd.example/internal/redistest"
)

func TestSentinel(t *testing.T) {
	s := redistest.StartSentinel(t, redistest.Options{Password: "open sesame"})
	historytest.Run(t, opener(s.URL(), 1))
}

// TestGuardedSentinels: the password is shown to Sentinels that ask for it.
func TestGuardedSentinels(t *testing.T) {
	s := redistest.StartSentinel(t, redistest.Options{Password: "open sesame", GuardSentinels: true})
	openStore(t, redis.Config{URL: s.URL(), Node: "n"})
	wrong := strings.Replace(s.URL(), "sesame", "seam", 1)
	_, err := redis.Open(t.Context(), redis.Config{URL: wrong, Node: "n"})
	if !errors.Is(err, redis.ErrPassword) || strings.Contains(err.Error(), "seam") {
		t.Errorf("with a wrong password: %v", err)
	}
}

func TestCluster(t *testing.T) {
	c := redistest.StartCluster(t, redistest.Options{})
	t.Run("Conformance", func(t *testing.T) { historytest.Run(t, opener(c.URL(), 16)) })
	t.Run("StateMachine", func(t *testing.T) {
		aQuarter(t)
		historytest.StateMachine(t, opener(c.URL(), 16))
	})
}

// aQuarter lowers -rapid.checks for a test: each try joins 16 partitions, and
// what is not the Cluster's own TestPartitionsStateMachine tries at length.
func aQuarter(t *testing.T) {
	checks := flag.Lookup("rapid.checks").Value
	whole := checks.String()
	n, err := strconv.Atoi(whole)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = checks.Set(whole) })
	if err := checks.Set(strconv.Itoa((n + 3) / 4)); err != nil {
		t.Fatal(err)
	}
}
