package proto

import "pushd.example/internal/history"

// envelope is more than a message's frame has beside its data and collapse key.
const envelope = 192

// MessageSize returns at least the bytes that AppendMessage appends for m, unless
// its collapse key has to be escaped.
func MessageSize(m *history.Message) int {
	n := len(m.Data) + len(m.CollapseKey) + envelope
	return n + n/fragmentSize*fragmentHeader
}

// PageSize returns the same for several messages.
func PageSize(messages []history.Message) int {
	n := 0
	for i := range messages {
		n += MessageSize(&messages[i])
	}
	return n
}
