package redis

import (
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// keys are the names of a partition's keys. All have one hash tag, and so one
// slot.
//
// A list of recipients is stored in recipients under the message's id, or, if that
// is not above the last one there, at the end: recipientIndex finds those.
type keys struct {
	prefix string // of all

	lastID              string // STRING: the last id given
	bodies              string // STREAM id-0: bodies of multicasts
	presence            string // HASH user: "node=connections,…"
	counts              string // HASH node: its connections; node:u: the users who have them
	leases              string // ZSET node: when its lease ends
	nodes               string // STRING: the last number given to a node
	log                 string // STREAM id-number: the broadcast log, or its copy
	expiries            string // ZSET id: when a broadcast's TTL ends
	expired             string // ZSET id: broadcasts whose TTL has ended, or that were replaced or recalled
	logCollapse         string // ZSET collapse key: id of its newest broadcast
	recalledBroadcasts  string // ZSET id: broadcasts that were recalled
	broadcastMarks      string // HASH id: how many read marks lie at a broadcast
	broadcastDeliveries string // HASH id: how many connections a broadcast went to
	events              string // STREAM time-number: what happened to users
	watch               string // HASH kind: "since until" it is recorded; keep: how many events are kept
	lingering           string // ZSET user without connections: when the user counts as disconnected
	scan                string // STRING: how far presence was cleared of dead nodes
	recipients          string // STREAM id-n: lists of recipients
	recipientIndex      string // ZSET position in recipients: id of the message, where the position has another
	due                 string // ZSET position in recipients: when to check who has not acked
	recalled            string // ZSET id: multicasts that were recalled
}

func newKeys(prefix, tag string) keys {
	pre := prefix + "{" + tag + "}"
	return keys{
		prefix: pre, lastID: pre + "c", bodies: pre + "M", presence: pre + "o", counts: pre + "O",
		leases: pre + "N", nodes: pre + "s", log: pre + "B", expiries: pre + "T", expired: pre + "E",
		logCollapse: pre + "C", recalledBroadcasts: pre + "Y", broadcastMarks: pre + "W", broadcastDeliveries: pre + "H",
		events: pre + "e", watch: pre + "w", lingering: pre + "l", scan: pre + "D",
		recipients: pre + "R", recipientIndex: pre + "X", due: pre + "U", recalled: pre + "Z",
	}
}

func (k *keys) inbox(user string) string     { return k.prefix + "i:" + user }  // LIST
func (k *keys) meta(user string) string      { return k.prefix + "u:" + user }  // HASH: read mark i, b; last TTL t
func (k *keys) markMoves(user string) string { return k.prefix + "a:" + user }  // STRING: the last moves of the read mark
func (k *keys) delivered(user string) string { return k.prefix + "d:" + user }  // STRING: delivered ranges
func (k *keys) collapse(user string) string  { return k.prefix + "c:" + user }  // ZSET collapse key: id of its newest entry
func (k *keys) push(key string) string       { return k.prefix + "k:" + key }   // STRING: what became of a push
func (k *keys) stream(node string) string    { return k.prefix + "n:" + node }  // STREAM: what a node must deliver
func (k *keys) members(group string) string  { return k.prefix + "G:" + group } // ZSET: users of the partition in a group
func (k *keys) groups(user string) string    { return k.prefix + "g:" + user }  // ZSET: groups of a user

// slots is how many a Cluster has.
const slots = 16384

// tags returns a hash tag for each of n partitions. Each falls into its own nth of
// the slots: masters of a Cluster serve ranges of slots, and several of the tags
// "0", "1", "2" would fall into one range.
func tags(n int) []string {
	list := make([]string, n)
	for i := range list {
		for try := 0; list[i] == ""; try++ {
			tag := strconv.FormatInt(int64(try), 36)
			if int(crc16(tag))%slots*n/slots == i {
				list[i] = tag
			}
		}
	}
	return list
}

// crc16 is the hash of tags in a Cluster: CRC-16/XMODEM (Redis Cluster
// specification, "Key distribution model").
func crc16(s string) (crc uint16) {
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			if crc <<= 1; carry {
				crc ^= 0x1021
			}
		}
	}
	return crc
}

// partitionOf returns the partition of a user or group, the same for ever.
func (s *Store) partitionOf(name string) *partition {
	return s.partitions[xxhash.Sum64String(name)%uint64(len(s.partitions))]
}
