package rpc

import (
	"context"
	"slices"

	"pushd.example/internal/history"
)

// The most that one call looks through for messages of some kinds only: so
// many pages of so many messages, or of maxPageBytes. Who asks for broadcasts
// in an inbox full of unicasts gets an empty page and goes on from there.
const (
	scanPages = 4
	scanLimit = 250
)

// answer is a page, and where to read on backward from it.
type answer struct {
	history.Page
	before history.ID
}

// read answers q. What the store's pages cannot leave out by themselves is left
// out here, while reading on until the page is full, nothing is left, or it
// would be too much work.
func (q question) read(ctx context.Context, store history.Store) (answer, error) {
	if len(q.kinds) == 0 && (q.from == 0 || q.Direction == history.Forward) {
		p, err := store.Page(ctx, q.user, q.Query)
		a := answer{Page: p}
		if len(p.Messages) > 0 {
			a.before = p.Messages[0].ID
		}
		return a, err
	}
	s := scan{question: q, next: q.Query}
	for range scanPages {
		s.next.Limit = min(q.Limit-len(s.out.Messages)+1, maxPage)
		if len(q.kinds) > 0 {
			s.next.Limit = scanLimit
		}
		p, err := store.Page(ctx, q.user, s.next)
		if err != nil {
			return answer{}, err
		}
		if s.take(p) {
			break
		}
	}
	if s.Direction == history.Forward && s.stop != 0 {
		if err := s.cursorAtStop(ctx, store); err != nil {
			return answer{}, err
		}
	}
	return s.answer(), nil
}

// scan collects a page from several of the store's.
type scan struct {
	question
	next  history.Query // what to ask the store for
	out   history.Page
	bytes int // in out
	begun bool
	last  history.ID // the last message looked at
	stop  history.ID // the message that there was no room for
}

// take adds what it wants of p, and says whether the page is complete.
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

// add takes m into the page if there is room.
func (s *scan) add(m history.Message) bool {
	n := len(s.out.Messages)
	if n == s.Limit || n > 0 && s.bytes+len(m.Data) > s.MaxBytes {
		return false
	}
	s.out.Messages = append(s.out.Messages, m)
	s.bytes += len(m.Data)
	return true
}

// cursorAtStop makes the cursor continue with the message at which the page
// ended in the middle of one of the store's: the cursor of a page that ends
// below it lies just there.
func (s *scan) cursorAtStop(ctx context.Context, store history.Store) error {
	p, err := store.Page(ctx, s.user, history.Query{Direction: history.Backward, Before: s.stop, Limit: 1, MaxBytes: 1})
	// Not behind where the last page began: the logs advance apart, and it may
	// be ahead in one.
	s.out.Cursor = p.Cursor.Max(s.next.After)
	return err
}

func (s *scan) answer() answer {
	a := answer{Page: s.out, before: s.last}
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
