package redis

import (
	"context"
	"errors"
	"strings"
	"time"

	"pushd.example/internal/history"
)

// Align returns the first id from the given one on that s may give to p.
func Align(s *Store, p history.Push, id history.ID) history.ID {
	n := history.ID(len(s.partitions))
	own := history.ID(0)
	if p.Kind != history.Broadcast {
		own = history.ID(s.partitionOf(p.Users[0]).number)
	}
	for id%n != own {
		id++
	}
	return id
}

// Settle waits until all that was appended has been delivered to the follower of
// s: what a probe that is sent now comes after.
func Settle(ctx context.Context, s *Store) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, p := range s.partitions {
		if err := p.probe(ctx, true); err != nil && !errors.Is(err, history.ErrClosed) {
			return err
		}
	}
	return nil
}

// Merge puts broadcasts among the deliveries of a node's stream.
var Merge = merge

// Tag returns the hash tag of the first partition.
func Tag(s *Store) string { return tags(len(s.partitions))[0] }

// EchoAppend returns a command that returns as JSON what append.lua gets of a push
// by the names that its Lua has, and a function that names keys of users.
func EchoAppend(users, nodes []string, ttl time.Duration, collapse string) (command []any, key func(name, user string) string) {
	c := appendCall{
		ids: ids{floor: 1 << 40, partition: 3, partitions: 4}, clock: 5, pushRecord: pushRecord{push: "again", remember: time.Minute},
		message: message{data: []byte("body"), exclude: "a socket", collapse: collapse}, nodeStreams: nodeStreams{nodes, 7},
		id: 1 << 39, flags: flagMulticast, ttl: ttl, chunk: 1, chunks: 2, keep: 3, recipients: []byte("r"), users: users,
	}
	k := newKeys("echo:", "0")
	w := wire{lua: &names{keyOf: map[string]string{}}}
	c.declare(&w, &k)
	l := newLinker(w.lua.keyOf)
	l.add(w.lua.text.String())
	fields := make([]string, len(w.lua.declared))
	for i, name := range w.lua.declared {
		fields[i] = "['" + name + "'] = " + name
	}
	l.add("return cjson.encode({" + strings.Join(fields, ", ") + "})")
	command = append([]any{"EVAL", l.text.String(), len(w.keys)}, append(w.keys, w.args...)...)
	for i, v := range command {
		if b, ok := v.([]byte); ok {
			command[i] = string(b)
		}
	}
	return command, func(name, user string) string {
		return map[string]func(string) string{
			"INBOXES": k.inbox, "METAS": k.meta, "COLLAPSE_INDEXES": k.collapse, "STREAMS": k.stream, "PUSH": k.push,
			"DUE": func(string) string { return k.due },
		}[name](user)
	}
}

// Saw makes s believe that an id was given in the partition of a user.
func Saw(s *Store, user string, id history.ID) { s.partitionOf(user).saw(id) }
