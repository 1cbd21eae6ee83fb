package chaos_test

import (
	"testing"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
)

// TestEmbedded kills a pushd that keeps its own history.
func TestEmbedded(t *testing.T) {
	r := newRun(t)
	p := newProcess(t, "-data", t.TempDir())
	r.nodes = []node{p}
	r.play(killNode(p))
}

// TestUntroubled is a run in which nothing fails: then nothing may be unknown.
func TestUntroubled(t *testing.T) {
	r := newRun(t)
	store, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Retention: everything})
	if err != nil {
		t.Fatal(err)
	}
	r.nodes = []node{newInProcess(t, store)}
	r.play()
	if r.calls.failed+r.calls.unknown > 0 {
		t.Errorf("%d pushes failed, the outcome of %d is unknown", r.calls.failed, r.calls.unknown)
	}
}

// everything keeps all that a run writes.
var everything = history.Retention{InboxCount: 1_000_000, BroadcastCount: 1_000_000}
