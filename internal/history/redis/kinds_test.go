package redis_test

import (
	"testing"

	"pushd/internal/history/historytest"
	"pushd/internal/redistest"
)

func TestSentinel(t *testing.T) {
	s := redistest.StartSentinel(t, redistest.Options{})
	historytest.Run(t, opener(s.URL(), 1))
}

func TestCluster(t *testing.T) {
	c := redistest.StartCluster(t, redistest.Options{})
	t.Run("Conformance", func(t *testing.T) { historytest.Run(t, opener(c.URL(), 16)) })
	t.Run("StateMachine", func(t *testing.T) { historytest.StateMachine(t, opener(c.URL(), 16)) })
}
