package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
)

const (
	defaultPage = 50
	maxPage     = 1000
	// maxPageBytes is the most bytes of data in a page of more than one message. It
	// bounds what a caller that does not read its answers makes the server hold,
	// and keeps a page within the 4 MiB that gRPC clients receive by default.
	maxPageBytes = 1 << 20
	// maxOwnPageBytes is the same for client tokens.
	maxOwnPageBytes = 256 << 10
)

// History implements pushv1.PushServiceServer.
func (s *service) History(ctx context.Context, req *pushv1.HistoryRequest) (*pushv1.HistoryResponse, error) {
	if err := checkUser("user", req.GetUser()); err != nil {
		return nil, err
	}
	q, err := newPageQuery(req)
	if err != nil {
		return nil, err
	}
	if byOwnToken(ctx) {
		q.MaxBytes = maxOwnPageBytes
	}
	page, err := q.read(ctx, s.store)
	if err != nil {
		return nil, fmt.Errorf("reading a page: %w", q.fieldError(err))
	}
	resp := &pushv1.HistoryResponse{
		Messages:  messages(page.Messages),
		Cursor:    page.Cursor.String(),
		HasMore:   page.HasMore,
		Unread:    count(page.Unread),
		Truncated: page.Truncated,
	}
	if page.before != 0 {
		resp.Before = page.before.String()
	}
	return resp, nil
}

// pageQuery is a checked HistoryRequest.
type pageQuery struct {
	history.Query
	user string
	// from is the least id in the page. kinds are the only kinds; none means all.
	from  history.ID
	kinds []history.Kind
	// fromSince: the page begins at since, not at a cursor of the caller.
	fromSince bool
}

// fieldError names the field that the store's error is about.
func (q pageQuery) fieldError(err error) error {
	if q.fromSince && errors.Is(err, history.ErrCursor) {
		return &FieldError{"since", "at most a minute ahead of the server's clock"}
	}
	return fieldError("after", err)
}

func newPageQuery(req *pushv1.HistoryRequest) (q pageQuery, err error) {
	q = pageQuery{user: req.GetUser()}
	q.Limit, q.MaxBytes, q.Unread = defaultPage, maxPageBytes, req.GetUnreadOnly()
	if req.Limit != nil {
		q.Limit = int(req.GetLimit())
	}
	if q.Limit < 1 || q.Limit > maxPage {
		return q, &FieldError{"limit", fmt.Sprintf("between 1 and %d, got %d", maxPage, q.Limit)}
	}
	if q.kinds, err = parseKinds(req.GetKinds()); err != nil {
		return q, err
	}
	after, before := req.GetAfter(), req.GetBefore()
	switch {
	case after != "" && before != "":
		return q, &FieldError{"after", "cannot be set together with before"}
	case after != "":
		q.Direction = history.Forward
		if q.After, err = history.ParseCursor(after); err != nil {
			return q, fieldError("after", err)
		}
	case before != "":
		q.Direction = history.Backward
		if q.Before, err = history.ParseID(before); err != nil {
			return q, fieldError("before", err)
		}
	}
	return q, q.applySince(req.GetSince())
}

// applySince leaves out messages stored before since; nil leaves out none.
func (q *pageQuery) applySince(since *timestamppb.Timestamp) error {
	if since == nil {
		return nil
	}
	if err := since.CheckValid(); err != nil {
		return &FieldError{"since", "want a time between the years 1 and 9999"}
	}
	// Messages have times in whole milliseconds, so the first time that is not
	// before since is since rounded up.
	q.from = history.FirstIDAt(since.AsTime().Add(time.Millisecond - 1))
	if q.Direction == history.Backward {
		return nil
	}
	begin := q.from - min(q.from, 1)
	q.Direction = history.Forward
	if at := q.After.Max(history.Cursor{Inbox: begin, Broadcast: begin}); at != q.After {
		q.After, q.fromSince = at, true
	}
	return nil
}

func parseKinds(words []string) (kinds []history.Kind, err error) {
	for i, word := range words {
		kind := history.Unicast
		for kind <= history.Broadcast && kind.String() != word {
			kind++
		}
		field := fmt.Sprintf("kinds[%d]", i)
		switch {
		case kind > history.Broadcast:
			return nil, &FieldError{field, fmt.Sprintf("want unicast, multicast or broadcast, got %q", clip(word))}
		case slices.Contains(kinds, kind):
			return nil, &FieldError{field, fmt.Sprintf("%q is given twice", word)}
		}
		kinds = append(kinds, kind)
	}
	return kinds, nil
}

// messages returns page as the API has it. It allocates once for the whole page:
// a page of 50 would otherwise cost a hundred small objects.
func messages(page []history.Message) []*pushv1.Message {
	type item struct {
		message pushv1.Message
		time    timestamppb.Timestamp
	}
	items := make([]item, len(page))
	out := make([]*pushv1.Message, len(page))
	for i, m := range page {
		t := m.ID.Time()
		it := &items[i]
		it.time.Seconds, it.time.Nanos = t.Unix(), int32(t.Nanosecond())
		it.message.Id = m.ID.String()
		it.message.Log, it.message.Kind = m.Log(), m.Kind.String()
		it.message.Time, it.message.Data = &it.time, m.Data
		if m.CollapseKey != "" {
			it.message.CollapseKey = &page[i].CollapseKey
		}
		out[i] = &it.message
	}
	return out
}
