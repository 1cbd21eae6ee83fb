package redis

import (
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// keys are the names of a partition's keys. All have one hash tag, and so one
// slot.
type keys struct {
	pre string // of all

	last     string // STRING: the last id given
	bodies   string // STREAM id-0: bodies of multicasts
	presence string // HASH user: "node=connections,…"
	counts   string // HASH node: its connections; node:u: the users who have them
	leases   string // ZSET node: when its lease ends
	nodes    string // STRING: the last number given to a node
	log      string // STREAM id-bn: the broadcast log, or its copy
	ends     string // ZSET id: when a broadcast's TTL ends
	expired  string // ZSET id: broadcasts whose TTL has ended, or that were replaced or recalled
	topics   string // ZSET collapse key: id of its newest broadcast
	events   string // STREAM time-number: what happened to users
	watch    string // HASH: which events are recorded, and how many
	leaving  string // ZSET user: when those who went are disconnected
	scan     string // STRING: how far presence was cleared of dead nodes
	notes    string // STREAM id-n: to whom messages went
	moved    string // ZSET place in notes: the id that the note there is about
	recalled string // ZSET id: multicasts that were recalled
	back     string // ZSET id: broadcasts that were recalled
	tally    string // HASH id: how many read marks lie at a broadcast
	due      string // ZSET place in notes: when it is asked who has not acked
	handed   string // HASH id: how many connections a broadcast went to
}

func newKeys(prefix, tag string) keys {
	pre := prefix + "{" + tag + "}"
	return keys{
		pre: pre, last: pre + "c", bodies: pre + "M", presence: pre + "o", counts: pre + "O",
		leases: pre + "N", nodes: pre + "s", log: pre + "B", ends: pre + "T", expired: pre + "E", topics: pre + "C",
		events: pre + "e", watch: pre + "w", leaving: pre + "l", scan: pre + "D",
		notes: pre + "R", moved: pre + "X", recalled: pre + "Z", back: pre + "Y", tally: pre + "W", handed: pre + "H", due: pre + "U",
	}
}

func (k *keys) inbox(user string) string    { return k.pre + "i:" + user }  // LIST
func (k *keys) meta(user string) string     { return k.pre + "u:" + user }  // HASH: read mark i, b; last TTL t
func (k *keys) moves(user string) string    { return k.pre + "a:" + user }  // STRING: the last moves of the read mark
func (k *keys) trail(user string) string    { return k.pre + "d:" + user }  // STRING: what was delivered
func (k *keys) topic(user string) string    { return k.pre + "c:" + user }  // ZSET collapse key: id of its newest entry
func (k *keys) record(key string) string    { return k.pre + "k:" + key }   // STRING: what became of a push
func (k *keys) stream(node string) string   { return k.pre + "n:" + node }  // STREAM: what a node must deliver
func (k *keys) members(group string) string { return k.pre + "G:" + group } // ZSET: users of the partition in a group
func (k *keys) groups(user string) string   { return k.pre + "g:" + user }  // ZSET: groups of a user

// slots is how many a Cluster has.
const slots = 16384

// tags returns a hash tag for each of n partitions, so that each falls into its
// own nth of the slots: Clusters are cut into ranges of slots, and the tags "0",
// "1", "2" would share some of them.
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

// crc16 is what a Cluster hashes tags with: CRC-16/XMODEM (Redis Cluster
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
