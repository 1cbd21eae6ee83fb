//go:build linux

package main

import (
	"strings"
	"testing"
)

// The plan's arithmetic against a naive count over all connections.
func TestPlanCountsConnectionsOfRecipients(t *testing.T) {
	for _, cfg := range []holdConfig{
		{Conns: 1, Users: 1},
		{Conns: 10, Users: 10},
		{Conns: 23, Users: 7},
		{Conns: 23, Users: 7, Stuck: 5},
		{Conns: 8, Users: 3, Stuck: 8},
	} {
		for fan := 1; fan <= cfg.Users; fan++ {
			p, err := newPlan([kinds]int{1, 1, 1}, fan, cfg, 42)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[kind]bool{}
			for seq := range uint32(200) {
				m := p.message(seq)
				if m != p.message(seq) {
					t.Fatal("a message changes")
				}
				seen[m.kind] = true
				to := map[int]bool{}
				for i := range m.fan {
					to[(m.first+i)%cfg.Users] = true
				}
				if m.kind == multicast && len(to) != fan || m.kind == unicast && len(to) != 1 {
					t.Fatalf("%v to %d users", m.kind, len(to))
				}
				want := 0
				for i := range cfg.Conns {
					if !cfg.stuck(i) && (m.kind == broadcast || to[i%cfg.Users]) {
						want++
					}
				}
				if got := p.deliveries(m); got != want {
					t.Fatalf("%+v, fan %d, %+v: %d deliveries, want %d", cfg, fan, m, got, want)
				}
			}
			if len(seen) != 3 {
				t.Errorf("200 messages of three kinds have only %v", seen)
			}
		}
	}
}

func TestPlanKeepsTheMix(t *testing.T) {
	p, err := newPlan([kinds]int{80, 15, 5}, 1, holdConfig{Conns: 100, Users: 100}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var count [kinds]int
	users := map[int]int{}
	for seq := range uint32(100_000) {
		m := p.message(seq)
		count[m.kind]++
		users[m.first]++
	}
	for k, want := range [kinds]int{80_000, 15_000, 5_000} {
		if d := count[k] - want; d > 600 || d < -600 {
			t.Errorf("%d of 100,000 are %v, want about %d", count[k], kind(k), want)
		}
	}
	for u := range 100 {
		if users[u] < 800 || users[u] > 1200 {
			t.Errorf("user %d is first in %d of 100,000 messages", u, users[u])
		}
	}
}

func TestPlanRefusesMoreRecipientsThanThereAre(t *testing.T) {
	_, err := newPlan([kinds]int{0, 1, 0}, 11, holdConfig{Conns: 20, Users: 10}, 1)
	if err == nil || !strings.Contains(err.Error(), "only 10 users") {
		t.Errorf("got %v", err)
	}
}

func TestStuckConnectionsAreSpreadEvenly(t *testing.T) {
	for _, c := range []holdConfig{{Conns: 100, Stuck: 1}, {Conns: 100, Stuck: 7}, {Conns: 15000, Stuck: 150}, {Conns: 5, Stuck: 5}, {Conns: 5}} {
		var at []int
		for i := range c.Conns {
			if c.stuck(i) {
				at = append(at, i)
			}
		}
		if len(at) != c.Stuck {
			t.Errorf("%+v: %d are stuck", c, len(at))
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap < c.Conns/c.Stuck || gap > c.Conns/c.Stuck+1 {
				t.Errorf("%+v: %d lie between two", c, gap)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	p, err := newPlan([kinds]int{0, 0, 1}, 1, holdConfig{Conns: 10, Users: 10}, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Message 2 failed; of 3 nobody heard; 4 was not sent at all.
	got := p.judge(4, map[uint32]bool{2: true}, []uint32{10, 12, 5})
	if want := (verdict{expected: 30, lost: 10, duplicates: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := p.judge(2, nil, []uint32{8, 11, 0, 0, 99}); got != (verdict{20, 2, 1}) {
		t.Errorf("a duplicate of one message hides the loss of another: %+v", got)
	}
}
