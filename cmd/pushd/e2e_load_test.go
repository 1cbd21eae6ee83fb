package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// pushed is what a test sent: who should have which ids.
type pushed struct {
	mu    sync.Mutex
	inbox map[string][]uint64
	all   []uint64
}

func (p *pushed) add(t testing.TB, id string, users ...string) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		t.Error(err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if users == nil {
		p.all = append(p.all, n)
	}
	for _, u := range users {
		p.inbox[u] = append(p.inbox[u], n)
	}
}

// of returns what user should have seen, in id order.
func (p *pushed) of(user string) []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := slices.Concat(p.inbox[user], p.all)
	slices.Sort(ids)
	return ids
}

// TestE2ENothingLost holds 2,000 connections of 500 users while every kind of
// push runs and connections drop and resume at random, and checks for each
// connection that nothing was lost, nothing came twice, everything came in id
// order, and that live and history are equal.
func TestE2ENothingLost(t *testing.T) {
	const users, each, pushers, pushesEach = 500, 4, 8, 300
	s := startDev(t, t.TempDir())
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()

	sent := &pushed{inbox: map[string][]uint64{}}
	seen := make([][]uint64, users*each)
	var connected, readers sync.WaitGroup
	for i := range seen {
		connected.Add(1)
		readers.Go(func() {
			var err error
			if seen[i], err = receive(ctx, s, userName(i%users), connected.Done); err != nil {
				t.Errorf("connection %d of %s: %v", i, userName(i%users), err)
				cancel()
			}
		})
	}
	connected.Wait()

	var wg sync.WaitGroup
	for range pushers {
		wg.Go(func() {
			for range pushesEach {
				if err := pushAny(t, s, sent, users); err != nil {
					t.Errorf("pushing: %v", err)
					cancel()
					return
				}
			}
		})
	}
	wg.Wait()
	var last receipt
	if _, err := s.rest("POST", "/v1/broadcast", `{"data":"end"}`, &last); err != nil {
		t.Fatal(err)
	}
	sent.add(t, last.ID)
	readers.Wait()

	for i, got := range seen {
		if user := userName(i % users); !slices.Equal(got, sent.of(user)) {
			t.Errorf("connection %d of %s: %s", i, user, difference(got, sent.of(user)))
		}
	}
	for i := range users {
		var ids []uint64
		for _, m := range s.wholeHistory(userName(i)) {
			id, _ := strconv.ParseUint(m.ID, 10, 64)
			ids = append(ids, id)
		}
		if !slices.Equal(ids, sent.of(userName(i))) {
			t.Errorf("history of %s: %s", userName(i), difference(ids, sent.of(userName(i))))
		}
	}
	s.terminate()
}

func userName(i int) string { return fmt.Sprintf("user-%03d", i) }

// receive holds a connection of user, drops it at random and resumes, until
// the message "end" arrives; it returns the ids that came, in order of coming.
func receive(ctx context.Context, s *server, user string, connected func()) (ids []uint64, err error) {
	connected = sync.OnceFunc(connected)
	defer connected()
	query := ""
	for {
		c, err := dial(ctx, s, user, query)
		if err != nil {
			return ids, fmt.Errorf("connecting: %w", err)
		}
		connected()
		for left := 1 + rand.IntN(60); left > 0; left-- {
			f, err := c.read(ctx)
			if err != nil {
				_ = c.ws.CloseNow()
				return ids, err
			}
			id, err := strconv.ParseUint(f.ID, 10, 64)
			if err != nil {
				_ = c.ws.CloseNow()
				return ids, fmt.Errorf("frame %+v: %w", f, err)
			}
			ids = append(ids, id)
			if string(f.Data) == `"end"` {
				return ids, c.ws.CloseNow()
			}
		}
		_ = c.ws.CloseNow()
		query = "&cursor=" + c.cursor.String()
	}
}

// pushAny pushes a random kind of message to random users.
func pushAny(t testing.TB, s *server, sent *pushed, users int) error {
	var r receipt
	switch n := rand.IntN(100); {
	case n < 2:
		if _, err := s.rest("POST", "/v1/broadcast", `{"data":"all"}`, &r); err != nil {
			return err
		}
		sent.add(t, r.ID)
	case n < 15:
		var list []string
		for _, i := range rand.Perm(users)[:1+rand.IntN(50)] {
			list = append(list, userName(i))
		}
		body := `{"users":["` + strings.Join(list, `","`) + `"],"data":"some"}`
		if _, err := s.rest("POST", "/v1/multicast", body, &r); err != nil {
			return err
		}
		sent.add(t, r.ID, list...)
	default:
		user := userName(rand.IntN(users))
		if _, err := s.rest("POST", "/v1/unicast", `{"user":"`+user+`","data":"one"}`, &r); err != nil {
			return err
		}
		sent.add(t, r.ID, user)
	}
	return nil
}

// difference says how got differs from want.
func difference(got, want []uint64) string {
	wanted, have := map[uint64]bool{}, map[uint64]int{}
	for _, id := range want {
		wanted[id] = true
	}
	var lost, twice, phantom int
	for _, id := range got {
		have[id]++
		if !wanted[id] {
			phantom++
		}
		if have[id] == 2 {
			twice++
		}
	}
	for _, id := range want {
		if have[id] == 0 {
			lost++
		}
	}
	return fmt.Sprintf("got %d of %d: %d lost, %d twice, %d never sent, in order %v",
		len(got), len(want), lost, twice, phantom, slices.IsSorted(got))
}
