package chaos_test

import "testing"

// TestEmbedded kills a pushd that keeps its own history.
func TestEmbedded(t *testing.T) {
	r := newRun(t)
	p := newProcess(t, "-data", t.TempDir())
	r.nodes = []node{p}
	r.play(killNode(p))
}
