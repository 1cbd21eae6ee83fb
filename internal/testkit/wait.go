package testkit

import (
	"errors"
	"testing"
	"time"
)

// Patience bounds every wait. It is long because machines are slow under the
// race detector; a test that passes never waits for all of it.
const Patience = 60 * time.Second

// WaitFor calls cond until it returns true. It fails the test after Patience;
// what ends the sentence "waited in vain for".
func WaitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	waitFor(t, Patience, what, func() error {
		if cond() {
			return nil
		}
		return errors.New("not yet")
	})
}

// WaitForSuccess is WaitFor with a condition that says what is missing: it calls
// try until it returns nil, and fails the test with the last error.
func WaitForSuccess(t testing.TB, what string, try func() error) {
	t.Helper()
	waitFor(t, Patience, what, try)
}

// interval is the pause between two tries. It begins short, because most
// conditions hold at once, and grows, because a try may be costly.
const (
	firstInterval = 100 * time.Microsecond
	lastInterval  = 20 * time.Millisecond
)

func waitFor(t testing.TB, patience time.Duration, what string, try func() error) {
	t.Helper()
	deadline, interval := time.Now().Add(patience), firstInterval
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s: %v", what, err)
		}
		time.Sleep(interval)
		interval = min(2*interval, lastInterval)
	}
}

// Must fails the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
