package conn

import (
	"context"

	"pushd.example/internal/history"
)

// deliveryLog gathers what a shard has delivered, for those who watch: what one
// turn of the loop has sent is recorded with one call, and while that is under
// way what the next turns send gathers for another. While nobody watches it
// costs one comparison a delivery.
type deliveryLog struct {
	events  history.Events // nil: nobody is told
	on      bool           // somebody watches, as of the beginning of this turn
	waiting []history.Event
	running bool // a call is under way
	gap     bool // some were not recorded, and readers have yet to be told
}

// maxUnrecorded is how many deliveries wait to be recorded; more are dropped,
// which readers are told.
const maxUnrecorded = 1 << 14

// begin is called at the beginning of each turn.
func (l *deliveryLog) begin() {
	l.on = l.events != nil && l.events.Watched(history.Delivered)
}

// note keeps that a message went to a connection of user. Those of one user
// that it goes to at once count as one.
func (l *deliveryLog) note(user string, id history.ID) {
	n := len(l.waiting)
	if n > 0 && l.waiting[n-1].ID == id && l.waiting[n-1].User == user {
		return
	}
	if n == maxUnrecorded {
		l.gap = true
		return
	}
	l.waiting = append(l.waiting, history.Event{Kind: history.Delivered, User: user, ID: id})
}

func (l *deliveryLog) notePage(user string, messages []history.Message) {
	for i := range messages {
		if messages[i].Kind != history.Broadcast && !messages[i].Ephemeral {
			l.note(user, messages[i].ID)
		}
	}
}

// recorded takes the result of a call.
func (l *deliveryLog) recorded(err error) {
	l.running = false
	l.gap = l.gap || err != nil
}

// take returns what to record next, nothing if that has to wait. Of a gap readers
// are told with what comes after it: while nothing can be recorded, so nothing is
// tried without need.
func (l *deliveryLog) take() (events []history.Event) {
	if l.running || len(l.waiting) == 0 {
		return nil
	}
	events = l.waiting
	if l.gap {
		events = append(events, history.Event{})
	}
	return events
}

// recordDelivered records what was delivered, when it has been handed to the
// kernel.
func (s *shard) recordDelivered() {
	events := s.log.take()
	if events == nil {
		return
	}
	s.loop.Flush()
	if s.server.calls.submit(&call{what: record, shard: s, events: events}) {
		s.log.waiting, s.log.gap, s.log.running = nil, false, true
	}
}

// recordDelivered is the same for a subscription, whose owner sends what it is
// handed.
func (s *Subscription) recordDelivered(ctx context.Context, messages []history.Message) {
	l := deliveryLog{events: s.server.cfg.Events, gap: s.gap}
	if l.begin(); !l.on {
		return
	}
	l.notePage(s.user, messages)
	events := l.take()
	if events == nil {
		return // broadcasts only
	}
	ctx, cancel := context.WithTimeout(ctx, s.server.cfg.StoreTimeout)
	defer cancel()
	err := l.events.RecordDelivered(ctx, events)
	if s.gap = err != nil; s.gap {
		s.server.cfg.Log.Debug("recording what was delivered", "error", err)
	}
}
