package rpc

import (
	"encoding/json"
	"strconv"

	pushv1 "pushd.example/api/push/v1"
)

// appendHistory appends page as protojson would write it, except that data is raw.
// It is written by hand because pages are long and read often: 50 messages take
// 12 µs and one allocation; protojson, with the data inserted afterwards, took
// 109 µs and 532.
func appendHistory(b []byte, page *pushv1.HistoryResponse) []byte {
	b = append(b, `{"messages":[`...)
	for i, m := range page.GetMessages() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMessage(b, m)
	}
	b = appendString(append(b, `],"cursor":`...), page.GetCursor())
	b = strconv.AppendBool(append(b, `,"has_more":`...), page.GetHasMore())
	b = strconv.AppendInt(append(b, `,"unread":`...), int64(page.GetUnread()), 10)
	b = strconv.AppendBool(append(b, `,"truncated":`...), page.GetTruncated())
	b = appendString(append(b, `,"before":`...), page.GetBefore())
	return append(b, '}')
}

// pageSize estimates the length of the text of page, more often too high than too
// low.
func pageSize(page *pushv1.HistoryResponse) int {
	const perMessage, rest = 128, 128
	size := rest
	for _, m := range page.GetMessages() {
		size += perMessage + len(m.GetData())
	}
	return size
}

func appendMessage(b []byte, m *pushv1.Message) []byte {
	b = appendString(append(b, `{"id":`...), m.GetId())
	b = appendString(append(b, `,"log":`...), m.GetLog())
	b = appendString(append(b, `,"kind":`...), m.GetKind())
	b = append(b, `,"time":"`...)
	// protojson omits a fraction of zero. Times of messages are whole
	// milliseconds.
	layout := "2006-01-02T15:04:05.000Z"
	if m.GetTime().GetNanos() == 0 {
		layout = "2006-01-02T15:04:05Z"
	}
	b = m.GetTime().AsTime().AppendFormat(b, layout)
	b = append(b, `","data":`...)
	if len(m.GetData()) == 0 { // stored by another program: the API refuses empty data
		b = append(b, "null"...)
	}
	b = append(b, m.GetData()...)
	if m.CollapseKey != nil {
		b = appendString(append(b, `,"collapse_key":`...), m.GetCollapseKey())
	}
	return append(b, '}')
}

// appendString appends s as a JSON string. It is fast for ids, cursors and the
// words of the API, which need no escapes, and correct for all others.
func appendString(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string cannot fail
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
