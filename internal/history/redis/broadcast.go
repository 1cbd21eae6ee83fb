package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"pushd.example/internal/history"
)

// home is the partition that gives broadcasts their ids. The logs of the others
// are copies, so that a page finds both logs of its user in one place.
func (s *Store) home() *partition { return s.partitions[0] }

// copied is a broadcast as the home partition has it.
type copied struct {
	id, prev history.ID
	expires  int64
	data     []byte
	exclude  string
	collapse string
}

// broadcast appends a broadcast to the home partition, and then its copies.
func (j *job) broadcast() (history.AppendResult, error) {
	s, home := j.store, j.store.home()
	cmd := broadcastScript.call(
		[]string{home.last, home.record(j.key), home.log, home.leases, home.counts, home.ends, home.expired, home.topics},
		s.clock(), home.floor(), j.push.Data, millis(j.push.TTL), millis(j.remember), s.forget(j.remember),
		s.conf.Retention.BroadcastCount, millis(s.conf.Retention.BroadcastAge), home.share, j.push.ExcludeConnection, j.push.CollapseKey)
	reply, err := ints(home.writes.do(j.ctx, cmd, j.replicate))
	if err != nil {
		return history.AppendResult{}, err
	}
	r := history.AppendResult{
		ID: history.ID(reply[1]), Duplicate: reply[0] == duplicate,
		Online: int(reply[2]), OnlineUsers: int(reply[3]),
	}
	home.saw(r.ID)
	if len(s.partitions) == 1 {
		return r, nil
	}
	here, err := s.copyToAll(j, copied{r.ID, history.ID(reply[4]), reply[5], j.push.Data, j.push.ExcludeConnection, j.push.CollapseKey}, r.Duplicate)
	if err != nil {
		return history.AppendResult{}, fmt.Errorf("%w: copying a broadcast to all partitions: %w", history.ErrUnknown, err)
	}
	return plus(r, here), nil
}

// copyToAll brings all copies to where they hold b, and counts who is here in
// their partitions. Of a retried broadcast only the id is known: whoever lacks it
// is brought up to the home's end, and nobody is counted.
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
	outcome, here, err := s.copyOne(ctx, p, b, false, replicate)
	if err != nil || outcome != behind {
		return here, err
	}
	if err := s.fill(ctx, p, replicate); err != nil {
		return history.AppendResult{}, err
	}
	_, here, err = s.copyOne(ctx, p, b, false, replicate)
	return here, err
}

// copyOne offers b to p's copy; next says that the home has nothing between the
// copy's end and b.
func (s *Store) copyOne(ctx context.Context, p *partition, b copied, next, replicate bool) (outcome int, here history.AppendResult, err error) {
	cmd := relayScript.call([]string{p.log, p.leases, p.counts, p.ends, p.expired, p.topics},
		s.clock(), uint64(b.id), uint64(b.prev), b.expires, b.data,
		s.conf.Retention.BroadcastCount, millis(s.conf.Retention.BroadcastAge), bit(next), b.exclude, b.collapse)
	reply, err := ints(p.writes.do(ctx, cmd, replicate))
	if err != nil {
		return 0, history.AppendResult{}, err
	}
	return int(reply[0]), history.AppendResult{Online: int(reply[1]), OnlineUsers: int(reply[2])}, nil
}

// behind: a copy lacks what lies before the broadcast that it is offered.
const behind = 2

// fillBatch is how many broadcasts are read from the home at once.
const fillBatch = 64

// fill brings p's copy to where the home's log ends now. Nodes may do so at the
// same time.
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
			b := copied{d.Message.ID, d.Prev, expiry(e.fields["m"]), d.Message.Data, d.ExcludeConnection, d.Message.CollapseKey}
			if _, _, err = s.copyOne(ctx, p, b, true, replicate); err != nil {
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
