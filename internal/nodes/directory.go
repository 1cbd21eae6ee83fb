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
	answers, err := n.ask(ctx, question{Presence: users})
	for _, a := range answers {
		for i := range min(len(counts), len(a.Counts)) {
			counts[i] += a.Counts[i]
		}
	}
	return counts, err
}

// Online returns the first limit users after the given one that have a
// connection on any node, in the order of their bytes, and whether there are
// more.
func (n *Nodes) Online(ctx context.Context, after string, limit int) (users []string, more bool, err error) {
	answers, err := n.ask(ctx, question{Online: &onlineQuestion{after, limit}})
	for _, a := range answers {
		users = append(users, a.Users...)
		more = more || a.More
	}
	// The first limit of all are among the first limit of each.
	slices.Sort(users)
	users = slices.Compact(users)
	if len(users) > limit {
		users, more = users[:limit], true
	}
	return users, more, err
}

// Connections returns the connections of user on all nodes, the oldest first.
func (n *Nodes) Connections(ctx context.Context, user string) ([]conn.Connection, error) {
	answers, err := n.ask(ctx, question{Connections: &user})
	var list []conn.Connection
	for _, a := range answers {
		list = append(list, a.Connections...)
	}
	slices.SortFunc(list, func(a, b conn.Connection) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID))
	})
	return list, err
}

// Disconnect closes the connections that d names on all nodes, and returns how
// many. After an error some may have been closed; it is safe to try again.
func (n *Nodes) Disconnect(ctx context.Context, d conn.Departure) (int, error) {
	answers, err := n.ask(ctx, question{Disconnect: &d})
	closed := 0
	for _, a := range answers {
		closed += a.Closed
	}
	return closed, err
}
