package historytest

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// many returns n users from the given number on, in the order of their bytes.
func many(from, n int) []string {
	users := make([]string, n)
	for i := range users {
		users[i] = fmt.Sprintf("user-%07d", from+i)
	}
	return users
}

func bigBatches(r *rig) {
	const n = 10_000
	users := many(0, 2*n)
	r.add(n, "g", users[:n]...)
	backwards := slices.Clone(users[n/2 : n/2+n])
	slices.Reverse(backwards)
	r.add(n/2, "g", backwards...)
	r.add(n/2, "g", users[n:]...)
	got, more, err := r.groups().Members(r.ctx, "g", "", 2*n)
	if err != nil || more || !slices.Equal(got, users) {
		r.Fatalf("%d members, more: %v, %v, want %d", len(got), more, err, len(users))
	}
	r.remove(n, "g", users[n/2:n/2+n]...)
	r.wantGroups(users[0], "g")
	r.wantGroups(users[n])
	r.deleteGroup(n, "g")
	r.wantMembers("g")
	r.wantGroups(users[0])
	r.wantGroups(users[2*n-1])
}

// batchesAreWhole: while one caller puts a crowd into a group and takes it out
// again, readers find all of it or nobody.
func batchesAreWhole(r *rig) {
	users := many(0, 100)
	g := r.groups()
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				got, more, err := g.Members(r.ctx, "g", "", all)
				if err != nil || more || len(got) != 0 && len(got) != len(users) {
					r.Errorf("read %d members, more: %v, %v, want none or %d", len(got), more, err, len(users))
					return
				}
			}
		})
	}
	for i := range 20 {
		r.add(len(users), "g", users...)
		if i%2 == 0 {
			r.remove(len(users), "g", users...)
		} else {
			r.deleteGroup(len(users), "g")
		}
	}
	done.Store(true)
	readers.Wait()
}

// concurrentChanges: each user becomes a member once, and ceases to be one
// once, whoever of several callers gets there first.
func concurrentChanges(r *rig) {
	const callers, n = 4, 200
	users := many(0, n)
	g := r.groups()
	count := func(change func(batch []string) (int, error)) int64 {
		var sum atomic.Int64
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := range n / 10 {
					at := (i*10 + c*n/callers) % n
					changed, err := change(append(slices.Clone(users[at:at+10]), "self-"+strconv.Itoa(c)))
					if err != nil {
						r.Errorf("changing a group: %v", err)
						return
					}
					sum.Add(int64(changed))
				}
			})
		}
		wg.Wait()
		return sum.Load()
	}
	if got := count(func(b []string) (int, error) { return g.AddMembers(r.ctx, "g", b) }); got != n+callers {
		r.Errorf("%d were new, want %d", got, n+callers)
	}
	members, _, err := g.Members(r.ctx, "g", "", all)
	if err != nil || len(members) != n+callers {
		r.Errorf("%d members, %v, want %d", len(members), err, n+callers)
	}
	if got := count(func(b []string) (int, error) { return g.RemoveMembers(r.ctx, "g", b) }); got != n+callers {
		r.Errorf("%d were members, want %d", got, n+callers)
	}
	r.wantMembers("g")
	r.wantGroups(users[0])
}
