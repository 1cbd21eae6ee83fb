package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
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

// TestE2EUnackedOutlivesAKill: what came due while pushd was down comes when it is
// up and somebody watches.
func TestE2EUnackedOutlivesAKill(t *testing.T) {
	dir := t.TempDir()
	s := startDev(t, dir)
	id := s.push("multicast", `{"users":["a","b"],"data":1,"notify_unacked_after":"1s","idempotency_key":"k"}`).ID
	if r := s.push("multicast", `{"users":["a","b"],"data":1,"notify_unacked_after":"1s","idempotency_key":"k"}`); !r.Duplicate {
		t.Errorf("sent again: %+v", r)
	}
	if _, err := s.rest("POST", "/v1/users/b/ack", fmt.Sprintf(`{"cursor":%q}`, s.history("b", "").Cursor), &struct{}{}); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s = startDev(t, dir)
	begin := s.unacked("")
	page := s.unacked(begin.Position)
	if got := fmt.Sprint(page.Events); got != "[{unacked a "+id+"}]" {
		t.Errorf("unacked %s, want of a alone", got)
	}
	s.kill()
	s = startDev(t, dir) // long after it was found
	later := s.push("unicast", `{"user":"c","data":1,"notify_unacked_after":"1s"}`).ID
	page = s.unacked(s.unacked("").Position)
	if last := page.Events[len(page.Events)-1]; last.User != "c" || last.Message != later {
		t.Errorf("unacked %v, want of c at the end", page.Events)
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
