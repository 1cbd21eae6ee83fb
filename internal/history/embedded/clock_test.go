package embedded_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/history/historytest"
	"pushd.example/internal/testkit"
)

// clockedStore is a directory that is opened under a clock which tests set.
type clockedStore struct {
	*testing.T
	conf  embedded.Config
	clock *historytest.Clock
	store *embedded.Store
}

func newClockedStore(t *testing.T) *clockedStore {
	clock := historytest.NewClock()
	s := &clockedStore{T: t, clock: clock, conf: embedded.Config{Dir: t.TempDir(), Now: clock.Now}}
	s.store = mustOpen(t, s.conf)
	return s
}

// reopenIn opens the store again after the clock has moved.
func (s *clockedStore) reopenIn(d time.Duration) {
	s.Helper()
	if err := s.store.Close(); err != nil {
		s.Fatal(err)
	}
	s.clock.Advance(d)
	s.store = mustOpen(s.T, s.conf)
}

func (s *clockedStore) push(p history.Push) {
	s.Helper()
	if _, err := s.store.Append(s.Context(), p); err != nil {
		s.Fatal(err)
	}
}

func (s *clockedStore) want(user string, messages, unread int) {
	s.Helper()
	p, err := s.store.Page(s.Context(), user, history.Query{Limit: 100})
	if err != nil || len(p.Messages) != messages || p.Unread != unread {
		s.Errorf("%s has %d messages, %d unread, %v; want %d, %d", user, len(p.Messages), p.Unread, err, messages, unread)
	}
}

// TestClockAheadOnce has a clock that is 40 days ahead during one opening, with
// maintenance and an append to the inbox: when it is right again, nothing is lost.
func TestClockAheadOnce(t *testing.T) {
	s := newClockedStore(t)
	big := bytes.Repeat([]byte("2"), 100)
	for range 70 { // enough for a trim
		s.push(history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: []byte("1"), IdempotencyKey: "key"})
		s.push(history.Push{Kind: history.Multicast, Users: []string{"ann", "bob"}, Data: big})
	}
	s.push(history.Push{Kind: history.Broadcast, Data: []byte("3")})
	const jump = 40 * 24 * time.Hour
	s.reopenIn(jump)
	s.want("ann", 0, 0)
	s.push(history.Push{Kind: history.Unicast, Users: []string{"ann"}})
	s.want("ann", 1, 1)
	s.reopenIn(-jump)
	s.want("ann", 73, 73)
	s.want("bob", 71, 71)
	if r, err := s.store.Append(t.Context(), history.Push{Kind: history.Unicast, Users: []string{"ann"}, IdempotencyKey: "key"}); err != nil || !r.Duplicate {
		t.Errorf("a key that is young is forgotten: %+v, %v", r, err)
	}
}

// TestAgedInboxesAreTrimmed has users who get nothing more: once their messages are
// past their age by two readings of the clock, they leave the disk.
func TestAgedInboxesAreTrimmed(t *testing.T) {
	s := newClockedStore(t)
	const users = 3000 // more than one step visits
	for i := range users {
		user := fmt.Sprint("user-", i)
		s.push(history.Push{Kind: history.Unicast, Users: []string{user}, Data: big, CollapseKey: "key"})
	}
	s.reopenIn(40 * 24 * time.Hour)
	s.push(history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: big})
	s.reopenIn(time.Hour)
	testkit.WaitForSuccess(t, "old inboxes to be trimmed", func() error {
		for tag, want := range map[byte]int{'i': 1, 'c': 0} {
			if n, err := embedded.Keys(s.store, tag); err != nil || n != want {
				return fmt.Errorf("%d keys of %q, %v; want %d", n, tag, err, want)
			}
		}
		return nil
	})
	s.want("ann", 1, 1)
	s.want("user-7", 0, 0)
	p, err := s.store.Page(t.Context(), "user-7", history.Query{Direction: history.Forward, Limit: 1})
	if err != nil || !p.Truncated {
		t.Errorf("after a trim truncated is %v, %v; want true", p.Truncated, err)
	}
}
