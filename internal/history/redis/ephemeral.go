package redis

import (
	"errors"
	"fmt"

	"pushd.example/internal/history"
)

// ephemeral sends a push that is not kept to the nodes where its recipients are
// connected. The partition of its first user gives the id; of a broadcast, the home.
func (j *job) ephemeral() (history.AppendResult, error) {
	parts := []part{{partition: j.store.home()}}
	if j.push.Kind != history.Broadcast {
		parts = j.parts()
	}
	sum, err := j.sendEphemeral(parts[0], 0)
	if err != nil {
		return history.AppendResult{}, err
	}
	rest := parts[1:]
	if j.push.Kind == history.Broadcast {
		rest = elsewhere(j.store)
	}
	return j.sendToOthers(rest, sum)
}

// elsewhere returns the partitions besides the home.
func elsewhere(s *Store) (parts []part) {
	for _, p := range s.partitions[1:] {
		parts = append(parts, part{partition: p})
	}
	return parts
}

// sendToOthers does in other partitions what was done in the first, and adds up.
func (j *job) sendToOthers(parts []part, sum history.AppendResult) (history.AppendResult, error) {
	rest, err := inEach(parts, func(p part) (history.AppendResult, error) {
		if j.push.Kind == history.Broadcast { // every node gets it from the home
			return p.online(j.ctx)
		}
		return j.sendEphemeral(p, sum.ID)
	})
	if err != nil {
		return history.AppendResult{}, fmt.Errorf("%w: sending an ephemeral message to all nodes: %w", history.ErrUnknown, err)
	}
	return plus(sum, rest), nil
}

// sendEphemeral sends the push to the users of one partition, under the given id; if
// that is 0, the partition gives one.
func (j *job) sendEphemeral(p part, id history.ID) (sum history.AppendResult, err error) {
	sum.ID = id
	for done := 0; done == 0 || done < len(p.users); done += maxChunk {
		users := p.users[min(done, len(p.users)):min(done+maxChunk, len(p.users))]
		r, err := j.sendChunk(p.partition, users, sum.ID)
		if err != nil {
			return history.AppendResult{}, j.halfway(done, err)
		}
		sum = plus(r, sum)
	}
	p.saw(sum.ID)
	return sum, nil
}

// sendChunk sends the push to some users; with none, to everybody.
func (j *job) sendChunk(p *partition, users []string, id history.ID) (history.AppendResult, error) {
	for range maxRefresh {
		o := &op{ctx: j.ctx, cmd: j.ephemeralCommand(p, users, id), once: true}
		if err := p.writes.put(o); err != nil {
			return history.AppendResult{}, err
		}
		reply, err := ints(o.wait(j.ctx))
		if err != nil {
			return history.AppendResult{}, err
		}
		if reply[0] == outcomeDone {
			return history.AppendResult{ID: history.ID(reply[1]), Online: int(reply[2]), OnlineUsers: int(reply[3])}, nil
		}
		if err := p.refreshNodes(j.ctx); err != nil {
			return history.AppendResult{}, err
		}
	}
	return history.AppendResult{}, unavailable(errors.New("new nodes joined during each try; retry"))
}

func (j *job) ephemeralCommand(p *partition, users []string, id history.ID) []any {
	flags := byte(flagEphemeral)
	switch j.push.Kind {
	case history.Broadcast:
		flags |= flagBroadcast
	case history.Multicast:
		flags |= flagMulticast
	}
	return ephemeralScript.call(&p.keys, ephemeralCall{
		ids: p.ids(p.floor()), clock: j.store.clock(), nodeStreams: p.nodeStreams(),
		id: id, flags: flags, data: j.push.Data, exclude: j.push.ExcludeConnection, users: users,
	})
}

// ephemeralCall is what ephemeral.lua is called with.
type ephemeralCall struct {
	ids
	clock any
	nodeStreams

	id      history.ID // 0: this partition gives one
	flags   byte
	data    []byte
	exclude string
	users   []string // none: the message is everybody's
}

func (c ephemeralCall) declare(w *wire, k *keys) {
	w.key("PRESENCE", k.presence)
	w.key("COUNTS", k.counts)
	w.time(c.clock)
	c.ids.declare(w, k)
	w.id("id", c.id)
	w.number("flags", int64(c.flags))
	w.bytes("data", c.data)
	w.text("exclude", c.exclude)
	c.nodeStreams.declareSingle(w, k)
	w.texts("users", c.users)
	c.nodeStreams.declare(w, k)
}
