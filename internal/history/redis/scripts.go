package redis

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

//go:embed lua
var luaFiles embed.FS

// script is one Lua script as Redis gets it.
type script struct {
	text string
	sha  string // that Redis knows it by
}

// The scripts, each with the files that it builds on.
var (
	appendScript    = newScript("append")
	broadcastScript = newScript("broadcasts", "broadcast")
	ephemeralScript = newScript("ephemeral")
	onlineScript    = newScript("online")
	relayScript     = newScript("broadcasts", "relay")
	pageScript      = newScript("view", "merge", "page")
	attachScript    = newScript("view", "merge", "events", "presence", "attach")
	ackScript       = newScript("view", "events", "ack")
	registerScript  = newScript("events", "presence", "register")
	joinScript      = newScript("join")
	beatScript      = newScript("events", "presence", "beat")
	leaveScript     = newScript("leave")
	addScript       = newScript("members_add")
	removeScript    = newScript("members_remove")
	eventsScript    = newScript("events", "events_read")
	unackedScript   = newScript("events", "unacked")
	sentScript      = newScript("sent")
	recallScript    = newScript("recall")
	backScript      = newScript("recall_broadcast")
	trailScript     = newScript("trail")
	handedScript    = newScript("handed")
	outcomeScript   = newScript("outcome")
	tallyScript     = newScript("tally")
)

var scripts = []script{
	appendScript, broadcastScript, ephemeralScript, onlineScript, relayScript, pageScript, attachScript, ackScript,
	registerScript, joinScript, beatScript, leaveScript, addScript, removeScript, eventsScript, unackedScript,
	sentScript, recallScript, backScript, trailScript, handedScript, outcomeScript, tallyScript,
}

// newScript joins common.lua and the given files. The first line, which says
// what the script may do, is that of the last.
func newScript(names ...string) script {
	first, body := "", ""
	for _, name := range append([]string{"common"}, names...) {
		text, err := luaFiles.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // the program is not whole
		}
		line, rest, _ := strings.Cut(string(text), "\n")
		first, body = line, body+rest
	}
	s := script{text: first + "\n" + body}
	sum := sha1.Sum([]byte(s.text))
	s.sha = hex.EncodeToString(sum[:])
	return s
}

// call returns the command that runs s.
func (s script) call(keys []string, args ...any) []any {
	cmd := make([]any, 0, 3+len(keys)+len(args))
	cmd = append(cmd, "evalsha", s.sha, len(keys))
	for _, key := range keys {
		cmd = append(cmd, key)
	}
	return append(cmd, args...)
}

// loadScripts makes a server know the scripts. It is called for each new
// connection, so that also a server that has just become master knows them.
//
// It asks first whether it may: a server that wants a password cuts off who
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
