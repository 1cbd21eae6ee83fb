//go:build linux

package main

import "testing"

// TestStreamThatBreaks: what was in flight has failed, and the run goes on over
// another stream.
func TestStreamThatBreaks(t *testing.T) {
	f := newFake(t)
	f.breakAfter = 9
	r, _ := runBench(t, f.args("unicast", "-conns", "5", "-messages", "50", "-callers", "1", "-via", "stream", "-api", f.grpc)...)
	if p := r.Push; p.Failed != 5 || f.calls.Load() != 45 || p.Lost != 0 {
		t.Errorf("%d of 50 failed, %d calls, %d lost: want 5, 45, 0", p.Failed, f.calls.Load(), p.Lost)
	}
	if n := r.Errors["publishing: rpc error: code = Unavailable desc = the stream broke"]; n != 5 {
		t.Errorf("errors %v", r.Errors)
	}
}

// TestStreamWithErrors: an error in a reply is that call's.
func TestStreamWithErrors(t *testing.T) {
	f := newFake(t)
	f.answerError = "user: required"
	r, _ := runBench(t, f.args("unicast", "-conns", "5", "-messages", "20", "-callers", "4", "-via", "stream", "-api", f.grpc)...)
	if r.Push.Failed != 20 || r.Errors["publishing: user: required"] != 20 {
		t.Errorf("%d failed, errors %v", r.Push.Failed, r.Errors)
	}
}
