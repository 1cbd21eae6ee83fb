package conn

import (
	"cmp"
	"context"
	"slices"
	"time"

	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
)

// Connection is one open connection as backends see it.
type Connection struct {
	// ID names it as its hello did; no other of the node is named so.
	ID   string
	User string
	Node string
	// Since is when it was attached, in seconds' precision, UTC.
	Since time.Time
	// Address is the peer's "host:port" as the socket shows it: behind a proxy,
	// the proxy's.
	Address string
	// UserAgent is what the client calls itself: at most 256 bytes of UTF-8.
	UserAgent string
	// Transport is how it is connected: WebSocket or GRPC.
	Transport string
}

// The transports.
const (
	WebSocket = "websocket"
	GRPC      = "grpc"
)

// Connections returns the open connections of user, the oldest first.
func (s *Server) Connections(ctx context.Context, user string) ([]Connection, error) {
	sh, hash := s.shardOf(user)
	list, err := ask(ctx, sh, func(sh *shard) (list []Connection) {
		for _, h := range sh.sessions.find(nil, user, hash) {
			if ses := sh.lookup(h); ses != nil && !ses.attaching() {
				list = append(list, sh.describe(ses))
			}
		}
		return list
	})
	for _, sub := range s.subscribers.of(user) {
		list = append(list, sub.describe())
	}
	slices.SortFunc(list, func(a, b Connection) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return list, err
}

func (s *shard) describe(ses *session) Connection {
	return Connection{
		ID:        s.server.connectionID(ses.handle),
		User:      string(s.sessions.user(ses)),
		Node:      s.server.cfg.Node,
		Since:     time.Unix(int64(ses.since), 0).UTC(),
		Address:   s.loop.Peer(ses.handle),
		UserAgent: s.sessions.agents.text(ses.agent),
		Transport: WebSocket,
	}
}

// Presence returns how many open connections each of users has, in their
// order.
func (s *Server) Presence(ctx context.Context, users []string) ([]int, error) {
	type query struct{ place, hash int }
	asked := make(map[*shard][]query)
	for i, user := range users {
		sh, hash := s.shardOf(user)
		asked[sh] = append(asked[sh], query{i, int(hash)})
	}
	counts := make([]int, len(users))
	for sh, queries := range asked {
		found, err := ask(ctx, sh, func(sh *shard) []int {
			found := make([]int, len(queries))
			for i, q := range queries {
				found[i] = sh.open(users[q.place], uint32(q.hash))
			}
			return found
		})
		if err != nil {
			return nil, err
		}
		for i, q := range queries {
			counts[q.place] = found[i] + len(s.subscribers.of(users[q.place]))
		}
	}
	return counts, nil
}

// open counts the sessions of a user that are attached.
func (s *shard) open(user string, hash uint32) int {
	n := 0
	s.found = s.sessions.find(s.found[:0], user, hash)
	for _, h := range s.found {
		if ses := s.lookup(h); ses != nil && !ses.attaching() {
			n++
		}
	}
	return n
}

// Online returns the first limit users after the given one that have an open
// connection, in the order of their bytes, and whether there are more. The
// empty user lies before all. Each call looks at every connection once, a stretch
// at a time: users who come or go meanwhile may be in it or not.
func (s *Server) Online(ctx context.Context, after string, limit int) (users []string, more bool, err error) {
	scan := onlineScan{after: after, most: limit + 1}
	for _, sh := range s.shards {
		scan.at = 0
		for done := false; !done; {
			if done, err = ask(ctx, sh, scan.stretch); err != nil {
				return nil, false, err
			}
		}
	}
	scan.add(s.subscribers.users(after)...)
	users = scan.first()
	if len(users) > limit {
		return users[:limit], true, nil
	}
	return users, false, nil
}

// onlineScan looks for the first users, in the order of their bytes.
type onlineScan struct {
	after string
	most  int
	users []string
	upTo  string // once most are found: no user after this is among the first
	at    uint32 // sockets below were looked at
}

// stretch looks at some of a shard's sessions. It runs on the shard's loop.
func (o *onlineScan) stretch(s *shard) (done bool) {
	next, more := s.sessions.scan(o.at, func(ses *session) bool {
		user := s.sessions.user(ses)
		if !ses.attaching() && string(user) > o.after && (o.upTo == "" || string(user) < o.upTo) {
			o.add(string(user))
		}
		return true
	})
	o.at = next
	return !more
}

// add adds users, and keeps the first ones now and then.
func (o *onlineScan) add(users ...string) {
	o.users = append(o.users, users...)
	if len(o.users) < 2*o.most+1024 {
		return
	}
	if o.first(); len(o.users) == o.most {
		o.upTo = o.users[o.most-1]
	}
}

// first returns the first users that were found, sorted, each once.
func (o *onlineScan) first() []string {
	slices.Sort(o.users)
	o.users = slices.Compact(o.users)
	o.users = o.users[:min(len(o.users), o.most)]
	return o.users
}

// Departure says whom to send away.
type Departure struct {
	User string
	// Connection names one connection of User; empty means all of them.
	Connection string
	// Reason is told to the client: at most MaxReason bytes of UTF-8.
	Reason string
	// Refuse is how long no connection of User is taken from now on; 0: not at
	// all. The node forgets it when it ends.
	Refuse time.Duration
}

// MaxReason is the most bytes in the reason of a Close frame (RFC 6455,
// section 5.5, less the code).
const MaxReason = 123

// Disconnect closes the connections that d names with CloseDisconnected, and
// returns how many.
func (s *Server) Disconnect(ctx context.Context, d Departure) (int, error) {
	sh, hash := s.shardOf(d.User)
	n, err := ask(ctx, sh, func(sh *shard) int { return sh.disconnect(d, hash) })
	for _, sub := range s.subscribers.of(d.User) {
		if d.Connection == "" || d.Connection == sub.id {
			sub.end(&DisconnectedError{d.Reason})
			n++
		}
	}
	return n, err
}

func (s *shard) disconnect(d Departure, hash uint32) int {
	if d.Refuse > 0 {
		s.refused.add(d.User, s.loop.Now(), d.Refuse)
	}
	n := 0
	for _, h := range s.sessions.find(nil, d.User, hash) {
		ses := s.lookup(h)
		if ses == nil || d.Connection != "" && d.Connection != s.server.connectionID(h) {
			continue
		}
		if ses.attaching() {
			s.forget(ses)
			s.loop.RefuseFor(h, proto.ErrRefused, d.Refuse)
		} else {
			s.loop.Close(h, reactor.Disconnected, proto.CloseDisconnected, d.Reason)
		}
		n++
	}
	return n
}
