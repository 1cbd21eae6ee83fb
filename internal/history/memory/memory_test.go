package memory_test

import (
	"testing"

	"pushd.example/internal/history"
	"pushd.example/internal/history/historytest"
	"pushd.example/internal/history/memory"
	"pushd.example/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func open(t testing.TB, o historytest.Options) historytest.Engine {
	s, err := memory.New(memory.Config{Retention: o.Retention, Events: o.Events, Now: o.Now})
	if err != nil {
		t.Fatal(err)
	}
	return historytest.Engine{Store: s}
}

func TestConformance(t *testing.T) { historytest.Run(t, open) }

func TestNegativeRetentionIsRefused(t *testing.T) {
	if s, err := memory.New(memory.Config{Retention: history.Retention{InboxCount: -1}}); err == nil {
		t.Errorf("opened %v", s)
	}
}

// TestStateMachine checks the machine itself: compared with itself, the oracle
// must not differ.
func TestStateMachine(t *testing.T) { historytest.StateMachine(t, open) }
