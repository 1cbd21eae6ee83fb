package embedded

import (
	"cmp"
	"encoding/binary"

	"pushd.example/internal/history"
)

// The key space. Ids are big-endian, so that byte order is id order; a user is
// preceded by its length, so that no user's keys are a prefix of another's,
// whatever bytes a name holds.
//
//	'f'                   the format of this directory
//	'l'                   the heads: last id given, last broadcast dropped
//	'u' len user          meta
//	'i' len user id       entry: an inline body, or a ref to 'm' id
//	'v'                   the clock at the last maintenance
//	'm' id                body of a multicast
//	'h' id                header of a broadcast: its expiry, its collapse key
//	'b' id                body of a broadcast
//	'k' bucket key        id that an idempotency key was given
//	'g' len group user    nothing: user is a member of group
//	'o' len user group    nothing: the same, by user
//	'r' id                the recipients of a group's messages; id is the first's
//	'a' len user          the last acks of the inbox
//	'w' id                how many read marks lie at a broadcast
//	't' len user          the ranges of the inbox that were delivered
//	'd' due id            how many recipients were checked for acks
//	'n' id                to how many connections a broadcast was delivered
//	'x' id                kind of a multicast or broadcast that was recalled
//	'c' len user key      id of the newest entry with a collapse key
//
// Headers of broadcasts lie apart from the bodies so that Open can read all of
// them without reading the bodies.
const (
	tagFormat          = 'f'
	tagHeads           = 'l'
	tagReading         = 'v'
	tagMeta            = 'u'
	tagEntry           = 'i'
	tagMulticastBody   = 'm'
	tagBroadcastHeader = 'h'
	tagBroadcastBody   = 'b'
	tagKey             = 'k'
	tagMember          = 'g'
	tagGroupOf         = 'o'
	tagRecipients      = 'r'
	tagAcks            = 'a'
	tagTally           = 'w'
	tagDelivered       = 't'
	tagConnections     = 'n'
	tagDue             = 'd'
	tagRecalled        = 'x'
	tagCollapse        = 'c'
)

const idSize = 8

// Sizes of whole keys, for encoding straight into a batch.
func metaKeySize(user string) int  { return 2 + len(user) }
func entryKeySize(user string) int { return 2 + len(user) + idSize }

const idKeySize = 1 + idSize

func appendMetaKey(dst []byte, user string) []byte { return appendUserKey(dst, tagMeta, user) }

func appendUserKey(dst []byte, tag byte, user string) []byte {
	dst = append(dst, tag, byte(len(user)))
	return append(dst, user...)
}

// compareUsers compares two users as their keys do.
func compareUsers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

func appendEntryKey(dst []byte, user string, id history.ID) []byte {
	dst = append(dst, tagEntry, byte(len(user)))
	dst = append(dst, user...)
	return appendID(dst, id)
}

// entryID reads the id out of an entry's key.
func entryID(key []byte) history.ID {
	return history.ID(binary.BigEndian.Uint64(key[len(key)-idSize:]))
}

// appendNameKey begins a list of names with what it is of.
func appendNameKey(dst []byte, tag byte, of, name string) []byte {
	dst = append(dst, tag, byte(len(of)))
	dst = append(dst, of...)
	return append(dst, name...)
}

func appendIDKey(dst []byte, tag byte, id history.ID) []byte {
	return appendID(append(dst, tag), id)
}

func appendKeyKey(dst []byte, bucket history.ID, key string) []byte {
	return append(appendIDKey(dst, tagKey, bucket), key...)
}

func appendID(dst []byte, id history.ID) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(id))
}
