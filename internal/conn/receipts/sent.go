package receipts

import (
	"time"

	"pushd.example/internal/conn/feed"
	"pushd.example/internal/history"
)

// Sent is what the reader of a subscription was sent and has not reported: a
// ledger for one reader, whose owner deals with what it is handed at its own
// pace. It has no lock. The zero value is empty.
type Sent struct {
	runs       []feed.Run   // of the inbox, that ended before the owner had dealt with them
	broadcasts []history.ID // handed to the owner
	done       history.Deliveries
}

// Hold keeps a run that has ended.
func (s *Sent) Hold(run feed.Run) {
	if run.Log == feed.Inbox && !run.Empty() {
		s.runs = append(s.runs, run)
	}
}

// HandOut is called with the messages that the owner is handed.
func (s *Sent) HandOut(messages []history.Message) {
	for i := range messages {
		if m := &messages[i]; m.Kind == history.Broadcast && !m.Ephemeral {
			s.broadcasts = append(s.broadcasts, m.ID)
		}
	}
}

// Taken is called when the owner has dealt with all that it was handed, which
// goes up to a position of reader r.
func (s *Sent) Taken(user string, r *feed.Reader, upTo history.Cursor, now time.Time) {
	inbox, _ := r.Taken(upTo)
	var later []feed.Run
	for _, run := range append(s.runs, inbox) {
		if rest := (feed.Run{From: max(run.From, upTo.Inbox), To: run.To}); !rest.Empty() {
			later = append(later, rest)
		}
		run.To = min(run.To, upTo.Inbox)
		s.report(user, run, now)
	}
	s.runs = later
	for _, id := range s.broadcasts {
		if s.done.Broadcasts == nil {
			s.done.Broadcasts = map[history.ID]int{}
		}
		s.done.Broadcasts[id]++
	}
	s.broadcasts = s.broadcasts[:0]
}

// report adds a run, to the last range if they touch.
func (s *Sent) report(user string, run feed.Run, now time.Time) {
	ranges := s.done.Inboxes
	switch n := len(ranges); {
	case run.Empty():
	case n > 0 && ranges[n-1].To == run.From:
		ranges[n-1].To = run.To
	default:
		s.done.Inboxes = append(ranges, userRange(user, run, now))
	}
}

// Collect takes what is ready to report.
func (s *Sent) Collect() history.Deliveries {
	d := s.done
	s.done = history.Deliveries{}
	return d
}
