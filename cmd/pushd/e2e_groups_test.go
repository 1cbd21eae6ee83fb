package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestE2EKillDuringGroupMulticast kills pushd at several moments of a multicast
// to a large group, and each time sends it again with the same key: every
// member has every message once, under the id that the retry answered with.
func TestE2EKillDuringGroupMulticast(t *testing.T) {
	const members, rounds = 12_000, 5
	dir := t.TempDir()
	s := startDev(t, dir)
	users := make([]string, members)
	for i := range users {
		users[i] = fmt.Sprintf("member-%d", i)
	}
	for _, group := range []string{"one", "two"} { // everybody is in both
		for batch := range slices.Chunk(users, 10_000) {
			s.addMembers(group, batch)
		}
	}
	body := func(round int) string {
		data := strings.Repeat("x", 500)
		return fmt.Sprintf(`{"groups":["one","two"],"except":["member-0"],"data":"%d %s","idempotency_key":"round-%d"}`, round, data, round)
	}
	began := time.Now()
	ids := []string{s.push("multicast", body(0)).ID}
	took := time.Since(began)

	for round := 1; round <= rounds; round++ {
		answered := make(chan error, 1)
		go func() {
			_, err := s.rest("POST", "/v1/multicast", body(round), &receipt{})
			answered <- err
		}()
		<-time.After(took * time.Duration(round) / rounds)
		s.kill()
		err := <-answered

		s = startDev(t, dir)
		r := s.push("multicast", body(round))
		if !r.Duplicate && r.Recipients != members-1 {
			t.Errorf("round %d: sent again to %d, want %d", round, r.Recipients, members-1)
		}
		if err == nil && !r.Duplicate {
			t.Errorf("round %d was answered OK, and stored again", round)
		}
		t.Logf("round %d: killed after %v, stored by then: %v, answered: %v", round, took*time.Duration(round)/rounds, r.Duplicate, err == nil)
		ids = append(ids, r.ID)
	}
	for i := 1; i < members; i += 71 {
		if got := frameIDs(s.wholeHistory(users[i])); !slices.Equal(got, ids) {
			t.Fatalf("%s has %q, want %q", users[i], got, ids)
		}
	}
	if got := s.wholeHistory("member-0"); len(got) != 0 {
		t.Errorf("who was excepted has %q", frameIDs(got))
	}
}

// TestE2EGroups: a member's socket gets what is sent to the group once, and
// nothing after having left it.
func TestE2EGroups(t *testing.T) {
	s := startDev(t, t.TempDir())
	in, out := mustDial(t, s, "in", ""), mustDial(t, s, "out", "")
	s.addMembers("vip", []string{"in", "out", "away"})
	s.addMembers("staff", []string{"in"})
	r := s.push("multicast", `{"groups":["vip","staff"],"users":["in"],"except":["out"],"data":1}`)
	if r.Recipients != 2 || r.Online != 1 {
		t.Errorf("receipt %+v, want 2 recipients, 1 online", r)
	}
	if _, err := s.rest("DELETE", "/v1/groups/vip/members", `{"users":["in"]}`, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	second := s.push("multicast", `{"groups":["vip"],"data":2}`)
	last := s.push("broadcast", `{"data":3}`)
	for _, want := range []struct {
		c   *client
		ids []string
	}{{in, []string{r.ID, last.ID}}, {out, []string{second.ID, last.ID}}} {
		for _, id := range want.ids {
			if f := want.c.next(t); f.ID != id {
				t.Errorf("%s got %s, want %s", want.c.hello.User, f.ID, id)
			}
		}
	}
	if p := s.history("away", ""); len(p.Messages) != 3 {
		t.Errorf("who was away has %d messages, want 3", len(p.Messages))
	}
}

// addMembers puts users, none of whom is a member, into group.
func (s *server) addMembers(group string, users []string) {
	s.t.Helper()
	body, err := json.Marshal(map[string][]string{"users": users})
	if err != nil {
		s.t.Fatal(err)
	}
	var reply struct{ Added int }
	if _, err := s.rest("POST", "/v1/groups/"+group+"/members", string(body), &reply); err != nil || reply.Added != len(users) {
		s.t.Fatalf("added %d members, want %d: %v", reply.Added, len(users), err)
	}
}
