package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"pushd.example/internal/history"
)

const (
	// maxChunk is how many users one script writes to: Redis does nothing else
	// meanwhile.
	maxChunk = 200
	// maxInline is the most bytes that a multicast's data may have to be copied
	// into each inbox.
	maxInline = 32
	// ownKeyLife is how long a key that no caller gave is remembered: only this
	// node's own retries need it.
	ownKeyLife = 15 * time.Second
	// maxRefresh is how often a script is tried again because a node has just
	// joined.
	maxRefresh = 5
)

// Outcomes of the scripts that append, recall and ack.
const (
	outcomeDone      = iota
	outcomeDuplicate // it was done before
	outcomeNewNode   // a node lives whose stream was not given: nothing was done
	outcomeGap       // something before it is missing: nothing was done
	outcomeFuture    // a cursor lies in the future: nothing was done
)

// Append implements history.Store. A multicast goes to each partition in
// chunks. The partition of its first user gives the id; in an inbox that has a
// later one by then, it gets an id of its own.
func (s *Store) Append(ctx context.Context, p history.Push) (history.AppendResult, error) {
	if err := s.enter(ctx); err != nil {
		return history.AppendResult{}, err
	}
	defer s.life.RUnlock()
	if err := p.Check(); err != nil {
		return history.AppendResult{}, err
	}
	receipt, err := s.append(ctx, &p)
	s.metrics.appended(p.Kind, receipt, err)
	return receipt, err
}

func (s *Store) append(ctx context.Context, p *history.Push) (history.AppendResult, error) {
	j := job{store: s, ctx: ctx, push: p, key: p.IdempotencyKey, remember: s.conf.Retention.IdempotencyKeys}
	if p.IdempotencyKey == "" {
		j.key, j.remember = "\xff"+rand.Text(), ownKeyLife
	}
	if p.Ephemeral {
		return j.ephemeral()
	}
	j.replicate = p.Durability == history.Replicated || p.Durability == history.AsConfigured && s.conf.Durability == history.Replicated
	if p.Kind == history.Broadcast {
		return j.broadcast()
	}
	return j.inboxes()
}

// job is one push that is being stored.
type job struct {
	store     *Store
	ctx       context.Context
	floor     history.ID // that an id of the first partition must lie above
	push      *history.Push
	key       string
	remember  time.Duration
	replicate bool
}

// part is the users of one partition.
type part struct {
	*partition
	users []string
}

// inboxes appends a unicast or multicast.
func (j *job) inboxes() (history.AppendResult, error) {
	parts := j.parts()
	for _, p := range parts {
		j.floor = max(j.floor, p.floor())
	}
	first, err := j.toPartition(parts[0], 0)
	if err != nil || len(parts) == 1 {
		return first, err
	}
	rest, err := inEach(parts[1:], func(p part) (history.AppendResult, error) { return j.toPartition(p, first.ID) })
	if err != nil {
		// Some users have it.
		return history.AppendResult{}, fmt.Errorf("%w: storing a multicast for all its users: %w", history.ErrUnknown, err)
	}
	if first.Duplicate {
		return first, nil
	}
	return plus(first, rest), nil
}

// inEach runs do in several partitions at once, and adds up the counts.
func inEach(parts []part, do func(part) (history.AppendResult, error)) (sum history.AppendResult, err error) {
	type result struct {
		history.AppendResult
		error
	}
	results := make(chan result, len(parts))
	for _, p := range parts {
		go func() {
			r, err := do(p)
			results <- result{r, err}
		}()
	}
	for range parts {
		r := <-results
		sum, err = plus(sum, r.AppendResult), errors.Join(err, r.error)
	}
	return sum, err
}

// plus adds the counts of more to r.
func plus(r, more history.AppendResult) history.AppendResult {
	r.Recipients += more.Recipients
	r.Online += more.Online
	r.OnlineUsers += more.OnlineUsers
	r.Unknown += more.Unknown
	return r
}

// parts groups the users by partition, the first user's first, each user once. A
// retry with the same users gets the same parts.
func (j *job) parts() []part {
	users := j.push.Users
	if len(users) == 1 {
		return []part{{j.store.partitionOf(users[0]), users}}
	}
	seen := make(map[string]bool, len(users))
	index := make([]int, len(j.store.partitions)) // of parts, plus 1
	var parts []part
	for _, user := range users {
		if seen[user] {
			continue
		}
		seen[user] = true
		p := j.store.partitionOf(user)
		if index[p.number] == 0 {
			parts = append(parts, part{partition: p})
			index[p.number] = len(parts)
		}
		its := &parts[index[p.number]-1]
		its.users = append(its.users, user)
	}
	return parts
}

// toPartition appends to the inboxes of one partition, under the given id; if that
// is 0, the partition gives one.
func (j *job) toPartition(p part, id history.ID) (sum history.AppendResult, err error) {
	chunks := (len(p.users) + maxChunk - 1) / maxChunk
	for done, tries := 0, 0; done < chunks; tries++ {
		n, outcome, err := j.send(p, id, done, chunks, &sum)
		if err != nil {
			return history.AppendResult{}, err
		}
		if done += n; outcome == outcomeDone {
			break
		}
		if outcome != outcomeNewNode || tries == maxRefresh {
			return history.AppendResult{}, fmt.Errorf("%w: Redis did not store chunk %d of %d; retry with the same idempotency key", history.ErrUnknown, done+1, chunks)
		}
		if err := p.refreshNodes(j.ctx); err != nil {
			return history.AppendResult{}, err
		}
	}
	p.saw(sum.ID)
	if sum.Duplicate {
		return history.AppendResult{ID: sum.ID, Duplicate: true}, nil
	}
	return sum, nil
}

// send sends the chunks from the given one on, all at once, and adds their counts to
// sum. It returns how many were done, and the outcome of the next.
func (j *job) send(p part, id history.ID, from, chunks int, sum *history.AppendResult) (done, outcome int, err error) {
	ops := make([]*op, 0, 1)
	for i := from; i < chunks; i++ {
		users := p.users[i*maxChunk : min((i+1)*maxChunk, len(p.users))]
		o := &op{ctx: j.ctx, cmd: j.command(p, users, id, i+1, chunks), replicate: j.replicate && i == chunks-1}
		if i > 0 {
			o.ctx = nil // a push that was begun is completed
		}
		if err = p.writes.put(o); err != nil {
			break
		}
		ops = append(ops, o)
	}
	if len(ops) == 0 {
		return 0, outcomeGap, err
	}
	for i, o := range ops {
		reply, failed := ints(o.wait(j.ctx))
		if failed != nil {
			return done, outcomeGap, j.halfway(from+i, failed)
		}
		switch reply[0] {
		case outcomeDone:
			sum.ID = history.ID(reply[1])
			sum.Recipients += int(reply[2])
			sum.Online += int(reply[3])
			sum.OnlineUsers += int(reply[4])
			sum.Unknown += int(reply[5])
		case outcomeDuplicate:
			sum.ID = history.ID(reply[1])
			sum.Duplicate = sum.Duplicate || from+i == 0
		default:
			return done, int(reply[0]), nil
		}
		done++
	}
	return done, outcomeDone, j.halfway(from+done, err)
}

// halfway makes the error of a later chunk say that earlier chunks were stored.
func (j *job) halfway(chunk int, err error) error {
	if err == nil || chunk == 0 || errors.Is(err, history.ErrUnknown) {
		return err
	}
	return fmt.Errorf("%w: after %d chunks: %w", history.ErrUnknown, chunk, err)
}

// command returns the call of the script for one chunk.
func (j *job) command(p part, users []string, id history.ID, chunk, chunks int) []any {
	s, push := j.store, j.push
	c := appendCall{
		ids: p.ids(j.floor), clock: s.clock(), pushRecord: j.record(), message: j.message(),
		id: id, ttl: push.TTL, inline: true, chunk: chunk, chunks: chunks,
		keep: s.conf.Retention.InboxCount, inboxAge: s.conf.Retention.InboxAge, unackedAfter: push.UnackedAfter,
		users: users, nodeStreams: p.nodeStreams(),
	}
	if push.Kind == history.Multicast {
		c.flags = flagMulticast
		c.inline = len(p.users) == 1 || len(push.Data) <= maxInline
	}
	c.recipients = recipientList(c.flags, users)
	return appendScript.call(&p.keys, c)
}

// appendCall is what append.lua is called with.
type appendCall struct {
	ids
	clock any
	pushRecord
	message
	nodeStreams

	id            history.ID // 0: this partition gives one
	flags         byte
	ttl           time.Duration
	inline        bool // data are copied into each inbox
	chunk, chunks int
	keep          int // entries that an inbox shows
	inboxAge      time.Duration
	unackedAfter  time.Duration // until users who have not acked are looked for; 0: never
	recipients    []byte        // users as a list of recipients; nil: none is stored
	users         []string
}

func (c appendCall) declare(w *wire, k *keys) {
	w.key("BODIES", k.bodies)
	w.key("PRESENCE", k.presence)
	w.key("RECIPIENTS", k.recipients)
	w.key("RECIPIENT_INDEX", k.recipientIndex)
	w.key("DUE", k.due)
	w.time(c.clock)
	c.ids.declare(w, k)
	c.pushRecord.declare(w, k)
	c.message.declare(w)
	w.id("id", c.id)
	w.number("flags", int64(c.flags))
	w.duration("ttl", c.ttl)
	w.flag("inline", c.inline)
	w.number("chunk", int64(c.chunk))
	w.number("chunks", int64(c.chunks))
	w.number("keep", int64(c.keep))
	w.duration("inbox_age", c.inboxAge)
	w.duration("unacked_after", c.unackedAfter)
	w.bytes("recipients", c.recipients)
	c.nodeStreams.declareSingle(w, k)
	w.texts("users", c.users)
	w.keyEach("INBOXES", c.users, k.inbox)
	w.keyEachIf(c.collapse != "" || c.ttl > 0, "collapse ~= '' or ttl > 0", "METAS", c.users, k.meta)
	w.keyEachIf(c.collapse != "", "collapse ~= ''", "COLLAPSE_INDEXES", c.users, k.collapse)
	c.nodeStreams.declare(w, k)
}

// ids are what a script needs to give an id.
type ids struct {
	floor                 history.ID // that the id must lie above
	partition, partitions int
}

func (p *partition) ids(floor history.ID) ids { return ids{floor, p.number, len(p.store.partitions)} }

func (i ids) declare(w *wire, k *keys) {
	w.key("LAST_ID", k.lastID)
	w.id("floor", i.floor)
	w.number("partition", int64(i.partition))
	w.number("partitions", int64(i.partitions))
}

// pushRecord is under which key, and how long, a push is remembered.
type pushRecord struct {
	push     string
	remember time.Duration
	forget   time.Duration // until Redis may drop the record; 0: never
}

func (j *job) record() pushRecord { return pushRecord{j.key, j.remember, j.store.forget(j.remember)} }

func (r pushRecord) declare(w *wire, k *keys) {
	w.key("PUSH", k.push(r.push))
	w.duration("remember", r.remember)
	w.duration("forget", r.forget)
}

// message is what goes to readers as it is.
type message struct {
	data              []byte
	exclude, collapse string
}

func (j *job) message() message {
	return message{j.push.Data, j.push.ExcludeConnection, j.push.CollapseKey}
}

func (m message) declare(w *wire) {
	w.bytes("data", m.data)
	w.text("exclude", m.exclude)
	w.text("collapse", m.collapse)
}

// clock returns the clock for scripts: "" for Redis's own, or the milliseconds of a
// test's.
func (s *Store) clock() any {
	if s.conf.Now == nil {
		return ""
	}
	return s.conf.Now().Sub(history.Epoch).Milliseconds()
}

// forget returns after how long Redis itself may drop what is remembered for so
// long; 0 for never, since a test's clock is not Redis's.
func (s *Store) forget(after time.Duration) time.Duration {
	if s.conf.Now != nil {
		return 0
	}
	return after
}

// millis returns d in whole milliseconds, rounded up.
func millis(d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ints reads the numbers at the beginning of a reply.
func ints(reply any, err error) ([]int64, error) {
	if err != nil {
		return nil, err
	}
	list, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("asking Redis: reply %T, want a list", reply)
	}
	out := make([]int64, 0, len(list))
	for _, v := range list {
		n, ok := v.(int64)
		if !ok {
			break
		}
		out = append(out, n)
	}
	return out, nil
}
