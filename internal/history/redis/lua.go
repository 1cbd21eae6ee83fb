package redis

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
	"pushd.example/internal/history/watch"
)

// The text of a script is put together from its file in lua, the definitions in
// lua/lib that it names, directly or through others, and the Lua that names its
// parameters. Names of constants and keys are replaced by what they stand for.
//
// Redis runs all of the text with each call: it makes each function again, and links it
// to each local that it uses. So the text has only what the script names.

//go:embed lua
var luaFiles embed.FS

// constants are the numbers that Lua has from Go.
var constants = map[string]int64{
	// Flags of an entry.
	"REF": int64(flagRef), "MULTICAST": int64(flagMulticast), "TTL": int64(flagTTL), "FAR": int64(flagFar),
	"BROADCAST": int64(flagBroadcast), "RECALL": int64(flagRecall), "COLLAPSE": int64(flagCollapse),

	// Ids: that of time 0 in ms since 1970, ids in a millisecond, and how many
	// milliseconds ahead of the clock an id may be.
	"EPOCH": history.Epoch.UnixMilli(), "IDS_PER_MS": int64(history.FirstIDAt(history.Epoch.Add(time.Millisecond))),
	"MAX_AHEAD": engine.CursorSkew.Milliseconds(),

	// Replies.
	"DONE": outcomeDone, "DUPLICATE": outcomeDuplicate, "NEW_NODE": outcomeNewNode, "GAP": outcomeGap, "FUTURE": outcomeFuture,
	"NOT_FOUND": notFound, "TO_USERS": toUsers, "TO_ALL": toAll, "OWN_ID": ownID,

	// Directions of pages, and starts of connections.
	"FORWARD":   int64(history.Forward),
	"START_NOW": int64(history.StartNow), "START_AFTER": int64(history.StartAfter), "START_UNREAD": int64(history.StartUnread),

	// Events.
	"CONNECTED": int64(watch.Connected), "DISCONNECTED": int64(watch.Disconnected), "ACKED": int64(watch.Acked),
	"DELIVERED": int64(watch.Delivered), "UNACKED": int64(watch.Unacked),
	"EVENTS_KEPT": watch.EventsKept, "LINGER": watch.Linger.Milliseconds(),
	"WATCHED_FOR": watch.WatchedFor.Milliseconds(), "WATCH_EXCESS": watch.WatchedFor.Milliseconds() / 10,

	// Receipts: sizes in bytes, and how many are kept.
	"RANGES_HEAD": 7, "RANGE_SIZE": rangeSize, "MERGE_BEYOND": engine.MergeBeyond, "MAX_RANGES": engine.MaxRanges,
	"MOVES_HEAD": 7, "MOVE_SIZE": 13, "ACKS_KEPT": engine.AcksKept,

	// Work for one script at a time, while Redis does nothing else.
	"TRIM_EVERY":        16,      // appends to an inbox between two checks for entries that are too old
	"INDEX_TRIM":        100,     // members taken out of an index with each append
	"SPARE_COUNTS":      64,      // counts of dropped broadcasts that are kept until all are deleted
	"PAGE_BATCH":        16,      // entries read at once for a page
	"UNREAD_BATCH":      64,      // entries read at once to count what is unread
	"SCAN_BATCH":        500,     // users cleared of dead nodes with a beat
	"EXPIRY_BATCH":      1000,    // broadcasts whose TTL has ended, with a beat
	"LINGERING_AT_ONCE": 4,       // disconnects recorded with each new one
	"DUE_BATCH":         100,     // disconnects or lists of recipients in a round of a read
	"DUE_ROUNDS":        10,      // rounds of a read
	"DUE_BYTES":         1 << 16, // lists of recipients in a reply
	"LEASES_TO_KEEP":    10,      // leases until Redis drops the stream of a node that is gone

	"EXPIRED_LONG_AGO": 1, // ms, when an entry expires that was replaced or recalled
}

// definitions are what lua/lib defines, by name.
var definitions = readDefinitions()

var definitionName = regexp.MustCompile(`^local (?:function )?(\w+)`)

// readDefinitions reads lua/lib. A definition begins with a line "local …" and ends
// before the next.
func readDefinitions() map[string]string {
	all := map[string]string{}
	files, err := fs.Glob(luaFiles, "lua/lib/*.lua")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		name := ""
		for line := range strings.Lines(readLua(file)) {
			if found := definitionName.FindStringSubmatch(line); found != nil {
				if name = found[1]; all[name] != "" {
					panic(file + " defines " + name + " again")
				}
			}
			all[name] += line
		}
	}
	return all
}

// readLua returns a file without the lines that are comments or empty.
func readLua(file string) string {
	text, err := luaFiles.ReadFile(file)
	if err != nil {
		panic(err) // the program is not whole
	}
	var code strings.Builder
	for line := range strings.Lines(string(text)) {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "--") {
			code.WriteString(line)
		}
	}
	return code.String()
}

// linker puts one script together.
type linker struct {
	inline map[string]string // what the names of constants and keys stand for
	left   map[string]string // definitions that it does not have yet
	text   strings.Builder
}

func newLinker(keys map[string]string) *linker {
	l := &linker{inline: maps.Clone(keys), left: maps.Clone(definitions)}
	l.inline["PROBE_PREFIX"] = fmt.Sprintf("'\\%d'", probePrefix[0])
	for name, v := range constants {
		l.inline[name] = strconv.FormatInt(v, 10)
	}
	return l
}

var wordOrString = regexp.MustCompile(`'[^']*'|[A-Za-z_]\w*`)

// add adds code, behind the definitions that it names.
func (l *linker) add(code string) {
	code = wordOrString.ReplaceAllStringFunc(code, func(name string) string {
		if definition := l.left[name]; definition != "" {
			delete(l.left, name)
			l.add(definition)
		}
		return cmp.Or(l.inline[name], name)
	})
	l.text.WriteString(code)
}

// link returns the text of the script in lua/<name>.lua, which builds on other
// files in lua, and whose parameters have the given names. The first line says what
// the script may do.
func link(parameters *names, name string, parts []string) string {
	first, body, _ := strings.Cut(readLua("lua/"+name+".lua"), "\n")
	l := newLinker(parameters.keyOf)
	l.text.WriteString(first + "\n")
	l.add(parameters.text.String())
	for _, part := range parts {
		_, code, _ := strings.Cut(readLua("lua/"+part+".lua"), "\n")
		l.add(code)
	}
	l.add(body)
	return l.text.String()
}
