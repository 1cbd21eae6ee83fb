package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pushd.example/internal/redistest"
	"pushd.example/internal/testkit"
)

// outcome is what GetReceipt answers.
type outcome struct {
	Recipients, Delivered, Acked int
	Users                        []struct {
		User             string
		Delivered, Acked bool
	}
}

// wantDelivered waits until the receipt of a message names these users, in order.
func (s *server) wantDelivered(id string, users ...string) {
	s.t.Helper()
	testkit.WaitForSuccess(s.t, "the receipt to know of deliveries", func() error {
		var o outcome
		if _, err := s.rest("GET", "/v1/messages/"+id+"/receipt", "", &o); err != nil {
			return err
		}
		var got []string
		for _, u := range o.Users {
			if u.Delivered {
				got = append(got, u.User)
			}
		}
		if !slices.Equal(got, users) || o.Delivered != len(users) {
			return fmt.Errorf("delivered to %d: %q, want %q", o.Delivered, got, users)
		}
		return nil
	})
}

// events is a page of ListEvents.
type events struct {
	Position string
	Lost     bool
	Events   []struct{ Kind, User, Message string }
}

// unacked reads who has not acked, after a position, and waits for it.
func (s *server) unacked(position string) (page events) {
	s.t.Helper()
	query := url.Values{"kinds": {"unacked"}, "position": {position}, "wait": {"30s"}}
	if _, err := s.rest("GET", "/v1/events?"+query.Encode(), "", &page); err != nil {
		s.t.Fatal(err)
	}
	if page.Lost {
		s.t.Error("events were lost")
	}
	return page
}

// TestE2EReceiptsOutliveAKill: what a receipt has told once it goes on telling, and
// who comes back with a cursor has had it too.
func TestE2EReceiptsOutliveAKill(t *testing.T) {
	dir := t.TempDir()
	s := startDev(t, dir, "-fsync", "always")
	a := mustDial(t, s, "a", "")
	first := s.push("multicast", `{"users":["a","b","c"],"data":1}`).ID
	a.next(t)
	s.wantDelivered(first, "a")
	s.kill()
	s = startDev(t, dir, "-fsync", "always")
	s.wantDelivered(first, "a")
	b := mustDial(t, s, "b", "&cursor=0")
	if f := b.next(t); f.ID != first {
		t.Fatalf("b got %+v, want %s", f, first)
	}
	s.wantDelivered(first, "a", "b")
	_ = b.ws.CloseNow()
	s.terminate()
	s = startDev(t, dir, "-fsync", "always")
	s.wantDelivered(first, "a", "b")
}

// unackedUntil collects unacked events after a position, as "USER MESSAGE", until
// one is of user.
func (s *server) unackedUntil(position, user string) (got []string) {
	s.t.Helper()
	for len(got) == 0 || !strings.HasPrefix(got[len(got)-1], user+" ") {
		page := s.unacked(position)
		if len(page.Events) == 0 {
			s.t.Fatalf("no unacked event within 30 s after %q, want one of %s", got, user)
		}
		position = page.Position
		for _, e := range page.Events {
			got = append(got, e.User+" "+e.Message)
		}
	}
	return got
}

// TestE2EUnackedOutlivesAKill: a request for unacked events survives kill -9, and
// so do acks. Messages that came due while pushd was down are reported when it is
// up and somebody watches.
func TestE2EUnackedOutlivesAKill(t *testing.T) {
	dir := t.TempDir()
	s := startDev(t, dir)
	const send = `{"users":["a","b"],"data":1,"notify_unacked_after":"1s","idempotency_key":"k"}`
	id := s.push("multicast", send).ID
	if r := s.push("multicast", send); !r.Duplicate {
		t.Errorf("sent again: %+v", r)
	}
	if _, err := s.rest("POST", "/v1/users/b/ack", fmt.Sprintf(`{"cursor":%q}`, s.history("b", "").Cursor), &struct{}{}); err != nil {
		t.Fatal(err)
	}
	s.kill()

	s = startDev(t, dir)
	begin := s.unacked("").Position
	// The message to c is due last: all events before it are there with it.
	last := s.push("unicast", `{"user":"c","data":1,"notify_unacked_after":"2s"}`).ID
	if got, want := s.unackedUntil(begin, "c"), []string{"a " + id, "c " + last}; !slices.Equal(got, want) {
		t.Errorf("unacked %q, want %q: b has acked, and the duplicate asked for nothing", got, want)
	}
	s.kill()

	// Events of the last moments before a crash may come again, but none of b.
	s = startDev(t, dir)
	begin = s.unacked("").Position
	later := s.push("unicast", `{"user":"d","data":1,"notify_unacked_after":"2s"}`).ID
	for _, got := range s.unackedUntil(begin, "d") {
		if got != "a "+id && got != "c "+last && got != "d "+later {
			t.Errorf("unacked %q, want of a, c and d only", got)
		}
	}
}

// TestE2ERedisOutcomes: what one node delivers another tells of, and a recipient
// who has not acked is found once, whichever nodes are watched.
func TestE2ERedisOutcomes(t *testing.T) {
	url := redistest.Start(t, redistest.Options{}).URL()
	one, two := startOn(t, url, "one"), startOn(t, url, "two")
	a, b := mustDial(t, one, "a", ""), mustDial(t, two, "b", "")
	at := [2]string{one.unacked("").Position, two.unacked("").Position}
	id := one.push("multicast", `{"users":["a","b","c"],"data":1,"notify_unacked_after":"2s"}`).ID
	for _, c := range []*client{a, b} {
		if f := c.next(t); f.ID != id {
			t.Fatalf("got %+v, want %s", f, id)
		}
	}
	for _, s := range []*server{one, two} {
		s.wantDelivered(id, "a", "b")
	}
	found := make(chan error, 2)
	for i, s := range []*server{one, two} {
		go func() {
			var got []string
			for position := at[i]; len(got) < 3; {
				page := s.unacked(position)
				position = page.Position
				for _, e := range page.Events {
					got = append(got, e.User)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, []string{"a", "b", "c"}) {
				found <- fmt.Errorf("node %d: unacked %q", i+1, got)
				return
			}
			found <- nil
		}()
	}
	if err := errors.Join(<-found, <-found); err != nil {
		t.Error(err)
	}
	broadcast := two.push("broadcast", `{"data":2}`).ID
	testkit.WaitForSuccess(t, "both connections to be counted", func() error {
		var o outcome
		if _, err := one.rest("GET", "/v1/messages/"+broadcast+"/receipt", "", &o); err != nil {
			return err
		}
		if o.Delivered != 2 {
			return fmt.Errorf("delivered to %d", o.Delivered)
		}
		return nil
	})
}
