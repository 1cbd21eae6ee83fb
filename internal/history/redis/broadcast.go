package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"pushd.example/internal/history"
)

// home is the partition that gives broadcasts their ids. The logs of the others
// are copies, so that a page finds both logs of its user in one place.
func (s *Store) home() *partition { return s.partitions[0] }

// broadcastCall is what broadcast.lua is called with.
type broadcastCall struct {
	ids
	clock any
	pushRecord
	message
	logRetention
	ttl time.Duration
}

func (c broadcastCall) declare(w *wire, k *keys) {
	w.time(c.clock)
	c.ids.declare(w, k)
	c.pushRecord.declare(w, k)
	c.message.declare(w)
	c.logRetention.declare(w, k)
	declareLog(w, k)
	declareCounts(w, k)
	w.duration("ttl", c.ttl)
}

// logRetention says which broadcasts are shown.
type logRetention struct {
	keep int
	age  time.Duration
}

func (s *Store) logRetention() logRetention {
	return logRetention{s.conf.Retention.BroadcastCount, s.conf.Retention.BroadcastAge}
}

func (r logRetention) declare(w *wire, k *keys) {
	w.key("LOG", k.log)
	w.number("keep_broadcasts", int64(r.keep))
	w.duration("broadcast_age", r.age)
}

// declareLog declares what a script needs to append to a broadcast log, besides its
// retention.
func declareLog(w *wire, k *keys) {
	w.key("EXPIRIES", k.expiries)
	w.key("EXPIRED", k.expired)
	w.key("LOG_COLLAPSE", k.logCollapse)
}

// declareCounts declares what a script needs to count connections.
func declareCounts(w *wire, k *keys) {
	w.key("LEASES", k.leases)
	w.key("COUNTS", k.counts)
}

// copied is a broadcast as the home partition has it.
type copied struct {
	message
	id, prev history.ID
	expires  int64 // in milliseconds since history.Epoch; 0: never
}

// relayCall is what relay.lua is called with.
type relayCall struct {
	clock any
	copied
	logRetention
	follows bool // the home has nothing between the copy's end and this
}

func (c relayCall) declare(w *wire, k *keys) {
	w.time(c.clock)
	c.message.declare(w)
	w.id("id", c.id)
	w.id("prev", c.prev)
	w.number("expires", c.expires)
	w.flag("follows", c.follows)
	c.logRetention.declare(w, k)
	declareLog(w, k)
	declareCounts(w, k)
}

// broadcast appends a broadcast to the home partition, and then its copies.
func (j *job) broadcast() (history.AppendResult, error) {
	s, home := j.store, j.store.home()
	cmd := broadcastScript.call(&home.keys, broadcastCall{
		ids: home.ids(home.floor()), clock: s.clock(), pushRecord: j.record(), message: j.message(),
		logRetention: s.logRetention(), ttl: j.push.TTL,
	})
	reply, err := ints(home.writes.do(j.ctx, cmd, j.replicate))
	if err != nil {
		return history.AppendResult{}, err
	}
	r := history.AppendResult{
		ID: history.ID(reply[1]), Duplicate: reply[0] == outcomeDuplicate,
		Online: int(reply[2]), OnlineUsers: int(reply[3]),
	}
	home.saw(r.ID)
	if len(s.partitions) == 1 {
		return r, nil
	}
	here, err := s.copyToAll(j, copied{j.message(), r.ID, history.ID(reply[4]), reply[5]}, r.Duplicate)
	if err != nil {
		return history.AppendResult{}, fmt.Errorf("%w: copying a broadcast to all partitions: %w", history.ErrUnknown, err)
	}
	return plus(r, here), nil
}

// copyToAll brings all copies to where they hold b, and counts the connections in
// their partitions. For a retried broadcast only the id is known: each copy is
// brought up to the home's end, and no connections are counted.
func (s *Store) copyToAll(j *job, b copied, retried bool) (here history.AppendResult, err error) {
	return inEach(elsewhere(s), func(p part) (history.AppendResult, error) {
		if retried {
			return history.AppendResult{}, s.fill(j.ctx, p.partition, j.replicate)
		}
		return s.relay(j.ctx, p.partition, b, j.replicate)
	})
}

// relay appends b to p's copy, and first what is missing before it.
func (s *Store) relay(ctx context.Context, p *partition, b copied, replicate bool) (history.AppendResult, error) {
	c := relayCall{clock: s.clock(), copied: b, logRetention: s.logRetention()}
	outcome, here, err := p.copyOne(ctx, c, replicate)
	if err != nil || outcome != outcomeGap {
		return here, err
	}
	if err := s.fill(ctx, p, replicate); err != nil {
		return history.AppendResult{}, err
	}
	_, here, err = p.copyOne(ctx, c, replicate)
	return here, err
}

// copyOne offers a broadcast to p's copy.
func (p *partition) copyOne(ctx context.Context, c relayCall, replicate bool) (outcome int, here history.AppendResult, err error) {
	reply, err := ints(p.writes.do(ctx, relayScript.call(&p.keys, c), replicate))
	if err != nil {
		return 0, history.AppendResult{}, err
	}
	return int(reply[0]), history.AppendResult{Online: int(reply[1]), OnlineUsers: int(reply[2])}, nil
}

// fillBatch is how many broadcasts are read from the home at once.
const fillBatch = 64

// fill brings p's copy to where the home's log ends now. Several nodes may do so at
// the same time.
func (s *Store) fill(ctx context.Context, p *partition, replicate bool) error {
	end, err := p.logEnd(ctx)
	if err != nil {
		return err
	}
	for {
		from := (end + 1).String()
		reply, err := s.home().reads.do(ctx, []any{"xrange", s.home().log, from, "+", "count", fillBatch}, false)
		if err != nil {
			return harmless(err)
		}
		entries, err := streamEntries(reply)
		if err != nil {
			return err
		}
		for _, e := range entries {
			d, err := parseBroadcast(e)
			if err != nil {
				return err
			}
			m := message{d.Message.Data, d.ExcludeConnection, d.Message.CollapseKey}
			b := copied{m, d.Message.ID, d.Prev, expiry(e.fields["m"])}
			c := relayCall{clock: s.clock(), copied: b, logRetention: s.logRetention(), follows: true}
			if _, _, err = p.copyOne(ctx, c, replicate); err != nil {
				return err
			}
			end = b.id
		}
		if len(entries) < fillBatch {
			return nil
		}
	}
}

// logEnd returns the id of the last broadcast in p's copy.
func (p *partition) logEnd(ctx context.Context) (history.ID, error) {
	reply, err := p.reads.do(ctx, []any{"xrevrange", p.log, "+", "-", "count", 1}, false)
	if errors.Is(err, goredis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, harmless(err)
	}
	entries, err := streamEntries(reply)
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	return idOf(entries[0].id)
}

// idOf reads the id out of a broadcast log's "id-bn".
func idOf(s string) (history.ID, error) {
	text, _, _ := strings.Cut(s, "-")
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("broadcast log: entry %q", s)
	}
	return history.ID(n), nil
}
