package nodes

import (
	"cmp"
	"context"
	"slices"

	"pushd.example/internal/conn"
)

// Presence returns how many connections each of users has on all nodes.
func (n *Nodes) Presence(ctx context.Context, users []string) ([]int, error) {
	counts := make([]int, len(users))
	if len(users) == 0 {
		return counts, nil
	}
	replies, err := n.ask(ctx, request{Presence: users})
	for _, r := range replies {
		for i := range min(len(counts), len(r.Counts)) {
			counts[i] += r.Counts[i]
		}
	}
	return counts, err
}

// Online returns the first limit users after the given one that have a
// connection on any node, in the order of their bytes, and whether there are
// more.
func (n *Nodes) Online(ctx context.Context, after string, limit int) (users []string, more bool, err error) {
	replies, err := n.ask(ctx, request{Online: &onlineRequest{after, limit}})
	for _, r := range replies {
		users = append(users, r.Users...)
		more = more || r.More
	}
	// The first limit users of all nodes are among the first limit of each node.
	slices.Sort(users)
	users = slices.Compact(users)
	if len(users) > limit {
		users, more = users[:limit], true
	}
	return users, more, err
}

// Connections returns the connections of user on all nodes, the oldest first.
func (n *Nodes) Connections(ctx context.Context, user string) ([]conn.Connection, error) {
	replies, err := n.ask(ctx, request{Connections: &user})
	var list []conn.Connection
	for _, r := range replies {
		list = append(list, r.Connections...)
	}
	slices.SortFunc(list, func(a, b conn.Connection) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID))
	})
	return list, err
}

// Disconnect closes the connections that d names on all nodes, and returns how
// many. After an error some of them may be closed; it is safe to retry.
func (n *Nodes) Disconnect(ctx context.Context, d conn.Departure) (int, error) {
	replies, err := n.ask(ctx, request{Disconnect: &d})
	closed := 0
	for _, r := range replies {
		closed += r.Closed
	}
	return closed, err
}
