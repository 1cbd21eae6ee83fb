package memory

import (
	"cmp"
	"slices"
	"time"

	"pushd.example/internal/history"
)

// view is a user's history at one moment.
type view struct {
	now                      time.Time
	inbox, broadcast         log
	keepInbox, keepBroadcast keep
	head                     history.Cursor
	shown                    []entry // of both logs, by id
}

// viewLocked needs s.mu.
func (s *Store) viewLocked(user string) view {
	v := view{
		now:           s.now(),
		inbox:         s.inboxes[user],
		broadcast:     s.broadcasts,
		keepInbox:     keep{s.retention.InboxCount, s.retention.InboxAge},
		keepBroadcast: keep{s.retention.BroadcastCount, s.retention.BroadcastAge},
	}
	v.head = history.Cursor{Inbox: v.inbox.head(), Broadcast: v.broadcast.head()}
	v.shown = append(v.inbox.shown(v.now, v.keepInbox), v.broadcast.shown(v.now, v.keepBroadcast)...)
	slices.SortFunc(v.shown, func(a, b entry) int { return cmp.Compare(a.ID, b.ID) })
	return v
}

// after returns what is shown after c.
func (v view) after(c history.Cursor) []entry {
	var out []entry
	for _, e := range v.shown {
		if e.ID > c.In(e.Kind) {
			out = append(out, e)
		}
	}
	return out
}

// below returns the cursor that every entry with a lesser id lies at or before.
func (v view) below(id history.ID) history.Cursor {
	return history.Cursor{Inbox: v.inbox.below(id), Broadcast: v.broadcast.below(id)}
}

// forward returns the page after c, which lies at or before the heads.
func (v view) forward(c history.Cursor, limit, maxBytes int) history.Page {
	ahead := v.after(c)
	n := fit(ahead, limit, maxBytes)
	p := history.Page{
		Messages: messages(ahead[:n]),
		Cursor:   v.head,
		Truncated: v.inbox.truncated(c.Inbox, v.now, v.keepInbox) ||
			v.broadcast.truncated(c.Broadcast, v.now, v.keepBroadcast),
		Gaps: v.gaps(c.Inbox, ahead[:n]),
	}
	if n < len(ahead) {
		p.HasMore = true
		// Not before c: each log advances on its own, and c may be ahead in one.
		p.Cursor = v.below(ahead[n].ID).Max(c)
	}
	return p
}

// gaps returns the inbox messages of a page after id that omitted entries precede.
func (v view) gaps(id history.ID, page []entry) (gaps []history.ID) {
	for _, e := range page {
		if e.Kind == history.Broadcast {
			continue
		}
		if v.inbox.below(e.ID) > id {
			gaps = append(gaps, e.ID)
		}
		id = e.ID
	}
	return gaps
}

// backward returns the page that ends below id.
func (v view) backward(id history.ID, limit, maxBytes int) history.Page {
	var behind []entry
	for _, e := range v.shown {
		if e.ID < id {
			behind = append(behind, e)
		}
	}
	slices.Reverse(behind)
	n := fit(behind, limit, maxBytes)
	page := slices.Clone(behind[:n])
	slices.Reverse(page)
	return history.Page{Messages: messages(page), Cursor: v.below(id), HasMore: n < len(behind)}
}

// fit returns how many of the first entries make a page.
func fit(entries []entry, limit, maxBytes int) int {
	sum := 0
	for i, e := range entries {
		sum += len(e.Data)
		if i == limit || i > 0 && maxBytes > 0 && sum > maxBytes {
			return i
		}
	}
	return len(entries)
}

func messages(entries []entry) []history.Message {
	var out []history.Message
	for _, e := range entries {
		out = append(out, e.Message)
	}
	return out
}
