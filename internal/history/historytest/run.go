package historytest

import (
	"testing"

	"pushd/internal/history"
)

// promise is one subtest; its name says what is promised.
type promise struct {
	name      string
	retention history.Retention // that the store is opened with
	check     func(*rig)
}

// Run checks that the engines that open returns keep the contract of
// history.Store and history.Groups.
func Run(t *testing.T, open Opener) {
	groups := []struct {
		name     string
		promises []promise
	}{
		{"Append", appendPromises()},
		{"Key", keyPromises()},
		{"Page", pagePromises()},
		{"Unread", unreadPromises()},
		{"Cursor", cursorPromises()},
		{"Retention", retentionPromises()},
		{"Ack", ackPromises()},
		{"Attach", attachPromises()},
		{"Follow", followPromises()},
		{"Groups", groupPromises()},
		{"Close", closePromises()},
		{"Concurrency", concurrencyPromises()},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) { runPromises(t, open, g.promises) })
	}
	if persistent(t, open) {
		t.Run("Reopen", func(t *testing.T) { runPromises(t, open, reopenPromises()) })
		t.Run("ReopenGroups", func(t *testing.T) { runPromises(t, open, reopenGroupPromises()) })
	}
}

func runPromises(t *testing.T, open Opener, promises []promise) {
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) { p.check(newRig(t, open, p.retention)) })
	}
}

// persistent opens one engine to see whether it can be reopened.
func persistent(t *testing.T, open Opener) bool {
	e := open(t, Options{Now: NewClock().Now})
	if err := e.Store.Close(); err != nil {
		t.Fatalf("closing an unused store: %v", err)
	}
	return e.Reopen != nil
}
