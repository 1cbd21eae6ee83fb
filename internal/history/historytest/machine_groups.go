package historytest

import (
	"context"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
)

var groupNames = []string{"g", "ga", "h"}

func drawGroup(rt *rapid.T) string {
	return rapid.SampledFrom(append(groupNames, "", "\xff")).Draw(rt, "group")
}

// drawMembers may draw nobody, one user twice, and one that is bad.
func drawMembers(rt *rapid.T) []string {
	one := rapid.SampledFrom(append(addressees, addressees[0], addressees[1], newcomer, "an", ""))
	return rapid.SliceOfN(one, 0, 4).Draw(rt, "members")
}

// bothGroups are the engine's and the oracle's.
func (m *machine) bothGroups() (engine, oracle history.Groups) {
	return m.store.(history.Groups), m.oracle.(history.Groups)
}

func (m *machine) changeMembers(rt *rapid.T) {
	group, users := drawGroup(rt), drawMembers(rt)
	engine, oracle := m.bothGroups()
	change, what := history.Groups.AddMembers, "adding"
	if rapid.Bool().Draw(rt, "remove") {
		change, what = history.Groups.RemoveMembers, "removing"
	}
	want, wantErr := change(oracle, context.Background(), group, users)
	got, err := change(engine, context.Background(), group, users)
	m.compareCounts(rt, fmt.Sprintf("%s %q, group %q", what, users, group), got, want, err, wantErr)
	m.compareGroups(rt)
}

func (m *machine) deleteGroup(rt *rapid.T) {
	group := drawGroup(rt)
	engine, oracle := m.bothGroups()
	want, wantErr := oracle.DeleteGroup(context.Background(), group)
	got, err := engine.DeleteGroup(context.Background(), group)
	m.compareCounts(rt, fmt.Sprintf("deleting group %q", group), got, want, err, wantErr)
	m.compareGroups(rt)
}

func (m *machine) compareCounts(rt *rapid.T, what string, got, want int, err, wantErr error) {
	rt.Helper()
	m.compareErrors(rt, what, err, wantErr)
	if got != want {
		rt.Fatalf("%s: %d, want %d", what, got, want)
	}
}

// listGroups reads pages from places of all kinds.
func (m *machine) listGroups(rt *rapid.T) {
	after := rapid.SampledFrom(append(groupNames, addressees...)).Draw(rt, "after")
	limit := rapid.IntRange(-1, 3).Draw(rt, "limit")
	m.compareLists(rt, drawGroup(rt), drawUser(rt), after, limit)
}

// compareGroups compares all that there is to read.
func (m *machine) compareGroups(rt *rapid.T) {
	for i, user := range append(addressees, newcomer, "an") {
		m.compareLists(rt, groupNames[i%len(groupNames)], user, "", all)
	}
}

func (m *machine) compareLists(rt *rapid.T, group, user, after string, limit int) {
	rt.Helper()
	engine, oracle := m.bothGroups()
	compare := func(what string, got, want []string, more, wantMore bool, err, wantErr error) {
		m.compareErrors(rt, what, err, wantErr)
		if !slices.Equal(got, want) || more != wantMore {
			rt.Fatalf("%s, %d after %q: %q, more: %v, want %q, more: %v", what, limit, after, got, more, want, wantMore)
		}
	}
	want, wantMore, wantErr := oracle.Members(context.Background(), group, after, limit)
	got, more, err := engine.Members(context.Background(), group, after, limit)
	compare(fmt.Sprintf("members of %q", group), got, want, more, wantMore, err, wantErr)

	want, wantMore, wantErr = oracle.GroupsOf(context.Background(), user, after, limit)
	got, more, err = engine.GroupsOf(context.Background(), user, after, limit)
	compare(fmt.Sprintf("groups of %q", user), got, want, more, wantMore, err, wantErr)
}
