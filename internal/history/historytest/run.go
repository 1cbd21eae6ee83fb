package historytest

import (
	"testing"

	"pushd.example/internal/history"
)

// promise is one subtest; its name says what is promised.
type promise struct {
	name      string
	retention history.Retention // that the store is opened with
	of        engines
	check     func(*rig)
}

// engines are those of which something is promised.
type engines uint8

const (
	every engines = iota
	oneProcess
	onePartition
)

func (e engines) has(engine Engine) bool {
	switch e {
	case oneProcess:
		return engine.Settle == nil
	case onePartition:
		return !engine.Partitioned
	}
	return true
}

// Run checks that the engines that open returns keep the contracts of
// history.Store, history.Groups, history.Messages and watch.Events.
func Run(t *testing.T, open Opener) {
	groups := []group{
		{"Append", appendPromises()},
		{"Key", keyPromises()},
		{"Page", pagePromises()},
		{"Unread", unreadPromises()},
		{"Cursor", cursorPromises()},
		{"Retention", retentionPromises()},
		{"Ack", ackPromises()},
		{"Attach", attachPromises()},
		{"Follow", followPromises()},
		{"Collapse", collapsePromises()},
		{"Ephemeral", ephemeralPromises()},
		{"Groups", groupPromises()},
		{"Events", eventPromises()},
		{"Recall", recallPromises()},
		{"Receipt", receiptPromises()},
		{"Delivered", deliveredPromises()},
		{"DeliveredEvents", deliveredEventPromises()},
		{"Gaps", gapPromises()},
		{"Unacked", unackedPromises()},
		{"Close", closePromises()},
		{"Concurrency", concurrencyPromises()},
	}
	engine := look(t, open)
	if engine.Reopen != nil {
		groups = append(groups, group{"Reopen", reopenPromises()}, group{"ReopenGroups", reopenGroupPromises()}, group{"ReopenEvents", reopenEventPromises()},
			group{"ReopenCollapse", reopenCollapsePromises()}, group{"ReopenRecall", reopenRecallPromises()}, group{"ReopenReceipt", reopenReceiptPromises()},
			group{"ReopenDelivered", reopenDeliveredPromises()}, group{"ReopenUnacked", reopenUnackedPromises()})
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) { g.run(t, open, engine) })
	}
}

// group is promises about one thing.
type group struct {
	name     string
	promises []promise
}

func (g group) run(t *testing.T, open Opener, engine Engine) {
	for _, p := range g.promises {
		if p.of.has(engine) {
			t.Run(p.name, func(t *testing.T) { p.check(newRig(t, open, p.retention)) })
		}
	}
}

// look opens one engine to see what it is.
func look(t *testing.T, open Opener) Engine {
	e := open(t, Options{Now: NewClock().Now})
	if err := e.Store.Close(); err != nil {
		t.Fatalf("closing an unused store: %v", err)
	}
	return e
}
