package conn

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
)

// Whatever a page lists, leaves out and has taken out, receipts learn of exactly
// what was sent.
func TestTrackIsOfWhatWasSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tr track
		sent, told := map[history.ID]bool{}, map[history.ID]bool{}
		var all []history.ID
		tell := func(run history.Range) {
			for _, id := range all {
				if run.From < id && id <= run.To {
					told[id] = true
				}
			}
		}
		next := history.ID(1)
		for range rapid.IntRange(1, 6).Draw(t, "pages") {
			p := history.Page{Cursor: history.Cursor{Inbox: tr.inbox}}
			out := map[history.ID]bool{}
			hidden := false
			for range rapid.IntRange(0, 6).Draw(t, "entries") {
				next += history.ID(rapid.IntRange(1, 3).Draw(t, "step"))
				m := history.Message{ID: next, Kind: rapid.SampledFrom([]history.Kind{history.Unicast, history.Unicast, history.Broadcast}).Draw(t, "kind")}
				if m.Kind != history.Broadcast {
					all = append(all, next)
					p.Cursor.Inbox = next
				}
				switch fate := rapid.SampledFrom([]string{"sent", "sent", "hidden", "taken out"}).Draw(t, "fate"); {
				case fate == "hidden":
					hidden = hidden || m.Kind != history.Broadcast
					continue
				case fate == "taken out":
					out[next] = true
				case m.Kind != history.Broadcast:
					sent[next] = true
				}
				if m.Kind != history.Broadcast && hidden {
					p.Gaps, hidden = append(p.Gaps, next), false
				}
				p.Messages = append(p.Messages, m)
			}
			leaveOut(&p, func(m *history.Message) bool { return out[m.ID] })
			tr.follow(&p, tell)
			if rapid.Bool().Draw(t, "note") {
				tell(tr.pass(tr.inbox))
			}
		}
		tell(tr.pass(tr.inbox))
		for _, id := range all {
			if told[id] != sent[id] {
				t.Fatalf("%d was sent: %v, receipts say: %v", id, sent[id], told[id])
			}
		}
		if tr.noted != tr.inbox || len(all) > 0 && tr.inbox < slices.Max(all) {
			t.Fatalf("ended at %+v", tr)
		}
	})
}
