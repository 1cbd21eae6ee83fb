package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushv1 "pushd.example/api/push/v1"
)

func history(c *call) func(context.Context) error {
	user := c.oneUser()
	limit := c.flags.Int("limit", 50, "`N` messages at most, 1 to 1000 (default 50)")
	after := c.flags.String("after", "", "`CURSOR` that the page begins after; 0 is the oldest message kept")
	before := c.flags.String("before", "", "message `ID` that the page ends before")
	since := c.flags.String("since", "", "`TIME` of the oldest message, such as 2026-03-01T12:00:00Z")
	kinds := c.list("kind", "`KIND` of messages: unicast, multicast or broadcast; may be repeated (default all)")
	unread := c.flags.Bool("unread", false, "only what lies after the user's read mark")
	return func(ctx context.Context) error {
		name, err := user()
		if err != nil {
			return err
		}
		req := &pushv1.HistoryRequest{
			User: name, Limit: proto.Int32(int32(*limit)), After: *after, Before: *before, Kinds: *kinds, UnreadOnly: *unread,
		}
		if *since != "" {
			t, err := time.Parse(time.RFC3339, *since)
			if err != nil {
				return usagef("-since: %q: want a time such as 2026-03-01T12:00:00Z", *since)
			}
			req.Since = timestamppb.New(t)
		}
		return c.ask(ctx, func(ctx context.Context, cc *grpc.ClientConn) error {
			page, err := pushv1.NewPushServiceClient(cc).History(ctx, req)
			if err != nil {
				return err
			}
			return c.page(page)
		})
	}
}

// page prints a page of history, as REST has it or for people.
func (c *call) page(p *pushv1.HistoryResponse) error {
	messages := make([]message, 0, len(p.GetMessages()))
	for _, m := range p.GetMessages() {
		messages = append(messages, newMessage(m))
	}
	if c.json {
		text, err := encode(struct {
			Messages  []message `json:"messages"`
			Cursor    string    `json:"cursor"`
			HasMore   bool      `json:"has_more"`
			Unread    int32     `json:"unread"`
			Truncated bool      `json:"truncated"`
			Before    string    `json:"before"`
		}{messages, p.GetCursor(), p.GetHasMore(), p.GetUnread(), p.GetTruncated(), p.GetBefore()})
		if err != nil {
			return err
		}
		return c.line("%s", text)
	}
	for _, m := range messages {
		if err := c.line("%s", m); err != nil {
			return err
		}
	}
	if p.GetTruncated() {
		if err := c.line("Retention dropped messages before these."); err != nil {
			return err
		}
	}
	more := ""
	if p.GetHasMore() {
		more = fmt.Sprintf("; more with -before %s or -after %s", p.GetBefore(), p.GetCursor())
	}
	return c.line("%d unread, cursor %s%s", p.GetUnread(), p.GetCursor(), more)
}

func ack(c *call) func(context.Context) error {
	user := c.oneUser()
	return func(ctx context.Context) error {
		name, err := user()
		if err != nil {
			return err
		}
		if len(c.args) > 1 {
			return usagef("want one cursor, got %d arguments", len(c.args))
		}
		return c.ask(ctx, func(ctx context.Context, cc *grpc.ClientConn) error {
			api := pushv1.NewPushServiceClient(cc)
			var cursor string
			if len(c.args) == 1 {
				cursor = c.args[0]
			} else {
				page, err := api.History(ctx, &pushv1.HistoryRequest{User: name, Limit: proto.Int32(1)})
				if err != nil {
					return err
				}
				cursor = page.GetCursor()
			}
			resp, err := api.Ack(ctx, &pushv1.AckRequest{User: name, Cursor: cursor})
			if err != nil {
				return err
			}
			return c.result(resp, "%d unread", resp.GetUnread())
		})
	}
}

func receipt(c *call) func(context.Context) error {
	return func(ctx context.Context) error {
		if len(c.args) != 1 {
			return usagef("want one message id, got %d arguments", len(c.args))
		}
		return c.ask(ctx, func(ctx context.Context, cc *grpc.ClientConn) error {
			r, err := pushv1.NewPushServiceClient(cc).GetReceipt(ctx, &pushv1.GetReceiptRequest{Id: c.args[0]})
			if err != nil || c.json {
				return orResult(c, r, err)
			}
			return c.receipt(r)
		})
	}
}

// orResult prints m unless there was an error.
func orResult(c *call, m proto.Message, err error) error {
	if err != nil {
		return err
	}
	return c.result(m, "")
}

func (c *call) receipt(r *pushv1.GetReceiptResponse) error {
	// A broadcast's deliveries are counted by connection and have no names.
	delivered := fmt.Sprintf("delivered to %d", r.GetDelivered())
	if r.GetKind() == "broadcast" {
		delivered = "delivered to " + count(r.GetDelivered(), "connection")
	} else {
		delivered = count(r.GetRecipients(), "recipient") + ", " + delivered
	}
	if err := c.line("%s: %s, acked by %d", r.GetKind(), delivered, r.GetAcked()); err != nil {
		return err
	}
	for _, u := range r.GetUsers() {
		text := "not delivered"
		if u.GetDelivered() {
			text = "delivered " + clockOf(u.GetDeliveredAt())
		}
		if u.GetAcked() {
			text += ", acked " + clockOf(u.GetAckedAt())
		}
		if err := c.line("  %s: %s", u.GetUser(), text); err != nil {
			return err
		}
	}
	return nil
}

func recall(c *call) func(context.Context) error {
	return func(ctx context.Context) error {
		if len(c.args) == 0 {
			return usagef("want the id of a message, or several")
		}
		return c.ask(ctx, func(ctx context.Context, cc *grpc.ClientConn) error {
			for _, id := range c.args {
				resp, err := pushv1.NewPushServiceClient(cc).Recall(ctx, &pushv1.RecallRequest{Id: id})
				if err != nil {
					return fmt.Errorf("message %s: %w", id, c.explain(err))
				}
				if err := c.result(resp, "recalled %s", id); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
