package historytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pushd.example/internal/history"
)

func groupPromises() []promise {
	return []promise{
		{name: "MembersAreListedInOrder", check: membersInOrder},
		{name: "MembersArePaged", check: membersPaged},
		{name: "GroupsAreListedInOrderAndPaged", check: groupsOfPaged},
		{name: "GroupsDoNotMix", check: groupsDoNotMix},
		{name: "AddCountsTheNew", check: addCounts},
		{name: "RemoveCountsTheMembers", check: removeCounts},
		{name: "DeleteTakesEverybodyOut", check: deleteGroup},
		{name: "AGroupOfNobodyIsNoGroup", check: emptyGroup},
		{name: "BadInputChangesNothing", check: badGroupInput},
		{name: "EndedContextChangesNothing", check: endedContextOfGroups},
		{name: "TenThousandInABatch", check: bigBatches},
		{name: "NobodySeesHalfOfABatch", of: onePartition, check: batchesAreWhole},
		{name: "ConcurrentChangesCountOnce", check: concurrentChanges},
		{name: "AfterCloseEverythingIsErrClosed", check: closedGroups},
	}
}

func reopenGroupPromises() []promise {
	return []promise{{name: "KeepsMembers", check: reopenKeepsMembers}}
}

// groups returns the store as what it must be too.
func (r *rig) groups() history.Groups {
	r.Helper()
	g, ok := r.store.(history.Groups)
	if !ok {
		r.Fatalf("%T keeps no groups", r.store)
	}
	return g
}

// add checks how many of users were new in group.
func (r *rig) add(want int, group string, users ...string) {
	r.Helper()
	if n, err := r.groups().AddMembers(r.ctx, group, users); n != want || err != nil {
		r.Errorf("adding %s to %q: %d were new, %v, want %d", shortened(fmt.Append(nil, users)), group, n, err, want)
	}
}

// remove checks how many of users were members of group.
func (r *rig) remove(want int, group string, users ...string) {
	r.Helper()
	if n, err := r.groups().RemoveMembers(r.ctx, group, users); n != want || err != nil {
		r.Errorf("removing %s from %q: %d were members, %v, want %d", shortened(fmt.Append(nil, users)), group, n, err, want)
	}
}

func (r *rig) deleteGroup(want int, group string) {
	r.Helper()
	if n, err := r.groups().DeleteGroup(r.ctx, group); n != want || err != nil {
		r.Errorf("deleting %q: %d were members, %v, want %d", group, n, err, want)
	}
}

// wantMembers checks all of group, at once and in small pages.
func (r *rig) wantMembers(group string, want ...string) {
	r.Helper()
	for _, limit := range []int{all, 2} {
		r.wantList("members of "+group, limit, want, func(after string) ([]string, bool, error) {
			return r.groups().Members(r.ctx, group, after, limit)
		})
	}
}

// wantGroups checks all groups of user.
func (r *rig) wantGroups(user string, want ...string) {
	r.Helper()
	for _, limit := range []int{all, 1} {
		r.wantList("groups of "+user, limit, want, func(after string) ([]string, bool, error) {
			return r.groups().GroupsOf(r.ctx, user, after, limit)
		})
	}
}

// wantList reads pages of a list to its end.
func (r *rig) wantList(what string, limit int, want []string, read func(after string) ([]string, bool, error)) {
	r.Helper()
	var got []string
	for more := true; more; {
		after := ""
		if len(got) > 0 {
			after = got[len(got)-1]
		}
		var page []string
		var err error
		page, more, err = read(after)
		if err != nil || len(page) > limit || more && len(page) < limit {
			r.Fatalf("%s after %q, %d at most: %d names, more: %v, %v", what, after, limit, len(page), more, err)
		}
		got = append(got, page...)
	}
	if !slices.Equal(got, want) {
		r.Errorf("%s, %d at a time: %d names %.200q, want %d: %.200q", what, limit, len(got), got, len(want), want)
	}
}

// names are in the order of their bytes, which is not that of an alphabet, nor
// of lengths.
var names = []string{"\x00", "\x00a", " ", "0", "10", "9", "A", "a", "a\x00", "aa", "ab", "b", "zz", "é", "日本", "\U0010ffff"}

// shuffled returns names in an order that is none.
func shuffled() []string {
	out := slices.Clone(names)
	for i := range out {
		j := i * 7 % len(out)
		out[i], out[j] = out[j], out[i]
	}
	return out
}

func membersInOrder(r *rig) {
	r.add(len(names), "g", shuffled()...)
	r.wantMembers("g", names...)
	for _, user := range shuffled() {
		r.add(1, "one by one", user)
	}
	r.wantMembers("one by one", names...)
}

func membersPaged(r *rig) {
	r.add(5, "g", "a", "c", "e", "g", "i")
	for _, c := range []struct {
		after string
		limit int
		want  []string
		more  bool
	}{
		{"", 1, []string{"a"}, true},
		{"", 4, []string{"a", "c", "e", "g"}, true},
		{"", 5, []string{"a", "c", "e", "g", "i"}, false},
		{"", 1 << 30, []string{"a", "c", "e", "g", "i"}, false},
		{"a", 2, []string{"c", "e"}, true},
		{"b", 2, []string{"c", "e"}, true},
		{"a\x00", 1, []string{"c"}, true},
		{"e", 2, []string{"g", "i"}, false},
		{"h", 2, []string{"i"}, false},
		{"i", 2, nil, false},
		{"z", 2, nil, false},
		{strings.Repeat("a", 1000), 1, []string{"c"}, true},
		{"\xff\xff", 2, nil, false},
	} {
		got, more, err := r.groups().Members(r.ctx, "g", c.after, c.limit)
		if err != nil || !slices.Equal(got, c.want) || more != c.more {
			r.Errorf("%d members after %q: %q, more: %v, %v, want %q, more: %v",
				c.limit, shortened([]byte(c.after)), got, more, err, c.want, c.more)
		}
	}
}

func groupsOfPaged(r *rig) {
	for _, group := range shuffled() {
		r.add(2, group, "ann", "bob")
	}
	r.wantGroups("ann", names...)
	r.remove(1, names[3], "ann")
	r.wantGroups("ann", slices.Concat(names[:3], names[4:])...)
	r.wantGroups("bob", names...)
	got, more, err := r.groups().GroupsOf(r.ctx, "ann", "a\x00\x01", 2)
	if err != nil || !more || !slices.Equal(got, []string{"aa", "ab"}) {
		r.Errorf("two groups after one that is none: %q, more: %v, %v", got, more, err)
	}
}

// groupsDoNotMix: a group whose name begins another's, and users likewise.
func groupsDoNotMix(r *rig) {
	for i, group := range names {
		r.add(2, group, "ann", names[i])
	}
	for i, group := range names {
		r.wantMembers(group, slices.Sorted(slices.Values([]string{"ann", names[i]}))...)
		r.wantGroups(names[i], group)
	}
	r.deleteGroup(2, "a")
	for i, group := range names {
		if group != "a" {
			r.wantMembers(group, slices.Sorted(slices.Values([]string{"ann", names[i]}))...)
		}
	}
	r.wantGroups("a")
	r.wantGroups("aa", "aa")
}

func addCounts(r *rig) {
	r.add(2, "g", "ann", "bob")
	r.add(1, "g", "bob", "cleo")
	r.add(0, "g", "cleo", "ann", "bob")
	r.add(1, "g", "dan", "dan", "ann", "dan")
	r.add(0, "g")
	r.wantMembers("g", "ann", "bob", "cleo", "dan")
	for _, user := range crowd {
		r.wantGroups(user, "g")
	}
}

func removeCounts(r *rig) {
	r.add(4, "g", crowd...)
	r.remove(0, "g", "eve")
	r.remove(0, "g")
	r.remove(0, "other", "ann")
	r.remove(1, "g", "ann", "ann", "eve")
	r.remove(1, "g", "ann", "bob")
	r.wantMembers("g", "cleo", "dan")
	r.wantGroups("ann")
	r.wantGroups("cleo", "g")
	r.add(1, "g", "ann", "cleo")
	r.wantMembers("g", "ann", "cleo", "dan")
	r.wantGroups("ann", "g")
}

func deleteGroup(r *rig) {
	r.add(4, "g", crowd...)
	r.add(2, "h", "ann", "bob")
	r.deleteGroup(4, "g")
	r.wantMembers("g")
	r.wantMembers("h", "ann", "bob")
	r.wantGroups("ann", "h")
	r.wantGroups("dan")
	r.deleteGroup(0, "g")
	r.add(1, "g", "dan")
	r.wantMembers("g", "dan")
	r.wantGroups("dan", "g")
}

func emptyGroup(r *rig) {
	r.wantMembers("never")
	r.deleteGroup(0, "never")
	r.wantGroups("nobody")
	r.add(2, "g", "ann", "bob")
	r.remove(2, "g", "bob", "ann")
	r.wantMembers("g")
	r.wantGroups("ann")
	r.deleteGroup(0, "g")
}

func badGroupInput(r *rig) {
	long := strings.Repeat("x", history.MaxGroup+1)
	g := r.groups()
	for _, group := range []string{"", long, "\xff", "a\xc3"} {
		_, add := g.AddMembers(r.ctx, group, []string{"ann"})
		_, remove := g.RemoveMembers(r.ctx, group, nil)
		_, _, members := g.Members(r.ctx, group, "", 1)
		_, drop := g.DeleteGroup(r.ctx, group)
		for what, err := range map[string]error{"adding to": add, "removing from": remove, "members of": members, "deleting": drop} {
			if !errors.Is(err, history.ErrGroup) {
				r.Errorf("%s %.20q: %v, want ErrGroup", what, group, err)
			}
		}
	}
	r.add(1, "g", "bob")
	for _, user := range []string{"", long, "\xff"} {
		_, add := g.AddMembers(r.ctx, "g", []string{"ann", user, "bob"})
		_, remove := g.RemoveMembers(r.ctx, "g", []string{"bob", user})
		_, _, of := g.GroupsOf(r.ctx, user, "", 1)
		for what, err := range map[string]error{"adding": add, "removing": remove, "groups of": of} {
			if !errors.Is(err, history.ErrUser) {
				r.Errorf("%s %.20q: %v, want ErrUser", what, user, err)
			}
		}
	}
	for _, limit := range []int{0, -1} {
		_, _, members := g.Members(r.ctx, "g", "", limit)
		_, _, of := g.GroupsOf(r.ctx, "bob", "", limit)
		if members == nil || of == nil {
			r.Errorf("limit %d was taken: %v, %v", limit, members, of)
		}
	}
	r.wantMembers("g", "bob")
	r.wantGroups("ann")
	longest := strings.Repeat("é", history.MaxGroup/2)
	r.add(1, longest, longest)
	r.wantMembers(longest, longest)
	r.wantGroups(longest, longest)
}

func endedContextOfGroups(r *rig) {
	r.add(1, "g", "ann")
	ended, cancel := context.WithCancel(r.ctx)
	cancel()
	g := r.groups()
	_, add := g.AddMembers(ended, "g", []string{"bob"})
	_, remove := g.RemoveMembers(ended, "g", []string{"ann"})
	_, drop := g.DeleteGroup(ended, "g")
	_, _, members := g.Members(ended, "g", "", 1)
	_, _, of := g.GroupsOf(ended, "ann", "", 1)
	for what, err := range map[string]error{"add": add, "remove": remove, "delete": drop, "members": members, "groups": of} {
		if !errors.Is(err, context.Canceled) {
			r.Errorf("%s with an ended context: %v", what, err)
		}
	}
	r.wantMembers("g", "ann")
	r.wantGroups("bob")
}

func closedGroups(r *rig) {
	r.add(1, "g", "ann")
	g := r.groups()
	if err := r.store.Close(); err != nil {
		r.Fatalf("closing: %v", err)
	}
	_, add := g.AddMembers(r.ctx, "g", []string{"bob"})
	_, remove := g.RemoveMembers(r.ctx, "g", []string{"ann"})
	_, drop := g.DeleteGroup(r.ctx, "g")
	_, _, members := g.Members(r.ctx, "g", "", 1)
	_, _, of := g.GroupsOf(r.ctx, "ann", "", 1)
	for what, err := range map[string]error{"add": add, "remove": remove, "delete": drop, "members": members, "groups": of} {
		if !errors.Is(err, history.ErrClosed) {
			r.Errorf("%s after Close: %v, want ErrClosed", what, err)
		}
	}
}

func reopenKeepsMembers(r *rig) {
	r.add(len(names), "g", names...)
	r.add(2, "h", "ann", "bob")
	r.add(1, "gone", "ann")
	r.reopen()
	r.wantMembers("g", names...)
	r.remove(1, "h", "bob")
	r.deleteGroup(1, "gone")
	r.reopen()
	r.wantMembers("h", "ann")
	r.wantMembers("gone")
	r.wantGroups("ann", "h")
	r.wantGroups("bob")
	r.add(0, "h", "ann")
}
