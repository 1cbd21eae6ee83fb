package rpc

import (
	"context"
	"slices"

	"pushd.example/internal/history"
)

// The bounds of one call that filters messages: it reads at most scanPages pages
// of the store, each of at most scanLimit messages and maxPageBytes. A caller that
// asks for broadcasts where the inbox is full of unicasts gets an empty page, and
// continues from its cursor.
const (
	scanPages = 4
	scanLimit = 250
)

// pageResult is a page, and the id at which a backward reader continues.
type pageResult struct {
	history.Page
	before history.ID
}

// read answers q. Messages that the store cannot filter are filtered here: read
// continues with the store's next page until the answer is full, the history ends,
// or scanPages pages were read.
func (q pageQuery) read(ctx context.Context, store history.Store) (pageResult, error) {
	if len(q.kinds) == 0 && (q.from == 0 || q.Direction == history.Forward) {
		p, err := store.Page(ctx, q.user, q.Query)
		a := pageResult{Page: p}
		if len(p.Messages) > 0 {
			a.before = p.Messages[0].ID
		}
		return a, err
	}
	s := scan{pageQuery: q, next: q.Query}
	for range scanPages {
		s.next.Limit = min(q.Limit-len(s.out.Messages)+1, maxPage)
		if len(q.kinds) > 0 {
			s.next.Limit = scanLimit
		}
		p, err := store.Page(ctx, q.user, s.next)
		if err != nil {
			return pageResult{}, err
		}
		if s.take(p) {
			break
		}
	}
	if s.Direction == history.Forward && s.stop != 0 {
		if err := s.cursorAtStop(ctx, store); err != nil {
			return pageResult{}, err
		}
	}
	return s.result(), nil
}

// scan fills a page from several pages of the store.
type scan struct {
	pageQuery
	next  history.Query // for the next page of the store
	out   history.Page
	bytes int // in out
	begun bool
	last  history.ID // the last message that was read
	stop  history.ID // the first message that did not fit; 0: all did
}

// take adds the wanted messages of p, and reports whether the page is complete.
func (s *scan) take(p history.Page) (complete bool) {
	if !s.begun {
		s.out.Unread, s.out.Cursor, s.begun = p.Unread, p.Cursor, true
	}
	s.out.Truncated = s.out.Truncated || p.Truncated
	s.out.HasMore = p.HasMore
	if s.Direction != history.Forward {
		slices.Reverse(p.Messages)
	}
	for _, m := range p.Messages {
		if m.ID < s.from {
			s.out.HasMore = false
			return true
		}
		if s.wants(m.Kind) && !s.add(m) {
			s.out.HasMore, s.stop = true, m.ID
			return true
		}
		s.last = m.ID
	}
	if s.Direction == history.Forward {
		s.next.After, s.out.Cursor = p.Cursor, p.Cursor
	} else {
		s.next.Direction, s.next.Before = history.Backward, s.last
	}
	return !p.HasMore
}

func (s *scan) wants(k history.Kind) bool {
	return len(s.kinds) == 0 || slices.Contains(s.kinds, k)
}

// add adds m to the page if it fits.
func (s *scan) add(m history.Message) bool {
	n := len(s.out.Messages)
	if n == s.Limit || n > 0 && s.bytes+len(m.Data) > s.MaxBytes {
		return false
	}
	s.out.Messages = append(s.out.Messages, m)
	s.bytes += len(m.Data)
	return true
}

// cursorAtStop sets the cursor for a page that ended at s.stop, in the middle of a
// page of the store: the next page must begin with that message. The cursor of a
// page that ends just below it is that cursor.
func (s *scan) cursorAtStop(ctx context.Context, store history.Store) error {
	p, err := store.Page(ctx, s.user, history.Query{Direction: history.Backward, Before: s.stop, Limit: 1, MaxBytes: 1})
	// The inbox and the broadcast log advance independently, so the cursor that
	// the last page began at may be ahead in one of them.
	s.out.Cursor = p.Cursor.Max(s.next.After)
	return err
}

func (s *scan) result() pageResult {
	a := pageResult{Page: s.out, before: s.last}
	if s.Direction != history.Forward {
		slices.Reverse(a.Messages)
		return a
	}
	a.before = 0
	if len(a.Messages) > 0 {
		a.before = a.Messages[0].ID
	}
	return a
}
