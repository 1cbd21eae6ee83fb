package redis

import (
	"context"
	"crypto/sha1"
	"encoding/hex"

	goredis "github.com/redis/go-redis/v9"
)

// script is one Lua script, which is called with P.
type script[P parameters] struct{ sha string }

// The scripts, each with the files that it builds on besides lua/lib.
var (
	appendScript             = newScript[appendCall]("append")
	broadcastScript          = newScript[broadcastCall]("broadcast")
	ephemeralScript          = newScript[ephemeralCall]("ephemeral")
	onlineScript             = newScript[onlineCall]("online")
	relayScript              = newScript[relayCall]("relay")
	pageScript               = newScript[pageCall]("page", "view", "merge")
	attachScript             = newScript[attachCall]("attach", "view", "merge")
	ackScript                = newScript[ackCall]("ack", "view")
	registerScript           = newScript[registerCall]("register")
	joinScript               = newScript[joinCall]("join")
	beatScript               = newScript[beatCall]("beat")
	leaveScript              = newScript[leaveCall]("leave")
	addMembersScript         = newScript[membersCall]("members_add")
	removeMembersScript      = newScript[membersCall]("members_remove")
	readEventsScript         = newScript[eventsCall]("events_read")
	unackedScript            = newScript[unackedCall]("unacked")
	recipientsScript         = newScript[recipientsCall]("recipients")
	recallScript             = newScript[recallCall]("recall")
	recallBroadcastScript    = newScript[recallBroadcastCall]("recall_broadcast")
	recordDeliveredScript    = newScript[deliveredCall]("record_delivered")
	broadcastDeliveredScript = newScript[broadcastDeliveredCall]("broadcast_delivered")
	receiptsScript           = newScript[receiptsCall]("receipts")
	broadcastReceiptScript   = newScript[broadcastReceiptCall]("broadcast_receipt")
)

// scriptText is what Redis and the tests see of a script.
type scriptText struct {
	name string
	text string
	*names
}

// scripts are all that newScript made.
var scripts []scriptText

func newScript[P parameters](name string, parts ...string) script[P] {
	var zero P
	w := wire{lua: &names{keyOf: map[string]string{}}}
	zero.declare(&w, new(keys))
	text := link(w.lua, name, parts)
	scripts = append(scripts, scriptText{name, text, w.lua})
	sum := sha1.Sum([]byte(text))
	return script[P]{hex.EncodeToString(sum[:])}
}

// call returns the command that runs s on the keys of a partition.
func (s script[P]) call(k *keys, p P) []any {
	w := wire{keys: make([]any, 3, 48), args: make([]any, 0, 32)} // room for both in keys: most calls fit
	p.declare(&w, k)
	w.keys[0], w.keys[1], w.keys[2] = "evalsha", s.sha, len(w.keys)-3
	return append(w.keys, w.args...)
}

// loadScripts makes a server know the scripts. It is called for each new
// connection, so that a server that has just become master knows them, too.
//
// It sends a PING first: a server that wants a password closes a connection that
// sends much without one, and then does not say why.
func loadScripts(ctx context.Context, conn *goredis.Conn) error {
	if err := conn.Ping(ctx).Err(); err != nil {
		return err
	}
	_, err := conn.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
		for _, s := range scripts {
			pipe.ScriptLoad(ctx, s.text)
		}
		return nil
	})
	return err
}
