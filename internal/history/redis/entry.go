package redis

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pushd.example/internal/history"
)

// Flags of an entry; lua/lib/entries.lua has the layout.
const (
	flagRef byte = 1 << iota
	flagMulticast
	flagTTL
	flagFar
	flagBroadcast
	flagRecall             // in the streams of nodes only
	flagEphemeral = 1 << 6 // likewise
	flagCollapse  = 1 << 7
)

const (
	headSize = 8
	ttlSize  = 6
)

var errEntry = errors.New("what Redis keeps is damaged")

// parseRow reads one message of a page.
func parseRow(row string) (history.Message, error) {
	if len(row) < headSize {
		return history.Message{}, fmt.Errorf("%w: a row of %d bytes", errEntry, len(row))
	}
	flags, id := parseHead(row)
	m := history.Message{ID: id, Kind: history.Unicast}
	switch {
	case flags&flagBroadcast != 0:
		m.Kind = history.Broadcast
	case flags&flagMulticast != 0:
		m.Kind = history.Multicast
	}
	data := row[headSize:]
	if flags&flagTTL != 0 {
		data = data[min(ttlSize, len(data)):]
	}
	if flags&flagCollapse != 0 {
		if len(data) == 0 || len(data) <= int(data[0]) {
			return history.Message{}, fmt.Errorf("%w: a row whose collapse key is cut off", errEntry)
		}
		m.CollapseKey, data = data[1:1+data[0]], data[1+data[0]:]
	}
	m.Data = []byte(data)
	return m, nil
}

func parseHead(s string) (flags byte, id history.ID) {
	return s[0], parseID(s[1:])
}

// parseID reads 7 bytes.
func parseID(s string) history.ID {
	var b [8]byte
	copy(b[1:], s[:7])
	return history.ID(binary.BigEndian.Uint64(b[:]))
}

// expiry reads when a broadcast's TTL ends, 0 for never.
func expiry(head string) int64 {
	if len(head) < headSize+ttlSize || head[0]&flagTTL == 0 {
		return 0
	}
	var b [8]byte
	copy(b[2:], head[headSize:headSize+ttlSize])
	return int64(binary.BigEndian.Uint64(b[:]))
}

// streamEntry is one entry of a stream.
type streamEntry struct {
	id     string
	fields map[string]string
}

// streamEntries reads what XRANGE returns, or one stream of XREAD.
func streamEntries(reply any) ([]streamEntry, error) {
	list, ok := reply.([]any)
	if !ok && reply != nil {
		return nil, fmt.Errorf("%w: a stream came as %T", errEntry, reply)
	}
	out := make([]streamEntry, 0, len(list))
	for _, item := range list {
		pair, ok := item.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("%w: a stream's entry came as %T", errEntry, item)
		}
		id, _ := pair[0].(string)
		values, _ := pair[1].([]any)
		e := streamEntry{id: id, fields: make(map[string]string, 2)}
		for i := 0; i+1 < len(values); i += 2 {
			name, _ := values[i].(string)
			e.fields[name], _ = values[i+1].(string)
		}
		out = append(out, e)
	}
	return out, nil
}

// parseBroadcast reads an entry of a broadcast log.
func parseBroadcast(e streamEntry) (history.Delivery, error) {
	id, err := idOf(e.id)
	head := e.fields["m"]
	if err != nil || len(head) < headSize {
		return history.Delivery{}, fmt.Errorf("%w: broadcast %q", errEntry, e.id)
	}
	_, prev := parseHead(head)
	m := history.Message{ID: id, Kind: history.Broadcast, Data: []byte(e.fields["d"]), CollapseKey: e.fields["c"]}
	return history.Delivery{Message: m, Prev: prev, ExcludeConnection: e.fields["x"]}, nil
}

// parseNode reads an entry of a node's stream; lua/lib/routing.lua has the layout.
func parseNode(e streamEntry) (history.Delivery, error) {
	if ack, ok := e.fields["a"]; ok {
		return parseAck(ack, e)
	}
	lines := e.fields["e"]
	if len(lines) < headSize {
		return history.Delivery{}, fmt.Errorf("%w: entry %q of a node's stream", errEntry, e.id)
	}
	flags, id := parseHead(lines)
	d := history.Delivery{
		Message:           history.Message{ID: id, Kind: history.Unicast, Data: []byte(e.fields["d"]), CollapseKey: e.fields["c"]},
		ExcludeConnection: e.fields["x"],
	}
	switch {
	case flags&flagMulticast != 0:
		d.Message.Kind = history.Multicast
	case flags&flagBroadcast != 0: // a recall, or ephemeral: others lie in their log
		d.Message.Kind = history.Broadcast
	}
	if flags&flagRecall != 0 {
		d.Recall, d.Message.Data = true, nil
	}
	d.Message.Ephemeral = flags&flagEphemeral != 0
	for lines = lines[headSize:]; len(lines) >= headSize; {
		prev, size := parseID(lines), int(lines[7])
		if lines = lines[headSize:]; size > len(lines) {
			return history.Delivery{}, fmt.Errorf("%w: entry %q of a node's stream", errEntry, e.id)
		}
		d.Recipients = append(d.Recipients, history.Recipient{User: lines[:size], Prev: prev})
		lines = lines[size:]
	}
	return d, nil
}

// parseAck reads an entry of a node's stream that tells of an ack.
func parseAck(ack string, e streamEntry) (history.Delivery, error) {
	const size = 3*7 + 4
	if len(ack) <= size {
		return history.Delivery{}, fmt.Errorf("%w: ack %q of a node's stream", errEntry, e.id)
	}
	return history.Delivery{
		Message:           history.Message{ID: parseID(ack)},
		Recipients:        []history.Recipient{{User: ack[size:]}},
		ExcludeConnection: e.fields["x"],
		Acked: &history.ReadMark{
			Cursor: history.Cursor{Inbox: parseID(ack[7:]), Broadcast: parseID(ack[14:])},
			Unread: int(binary.BigEndian.Uint32([]byte(ack[21:size]))),
		},
	}, nil
}
