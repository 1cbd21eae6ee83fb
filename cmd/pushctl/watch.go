package main

import (
	"context"
	"errors"
	"io"

	pushv1 "pushd.example/api/push/v1"
)

const watchMore = `It goes on where it was when pushd comes back. With -json each line has the
position to go on from later, with -position.`

func watch(c *call) func(context.Context) error {
	kinds := c.list("kind", "`KIND` of events: connected, disconnected, acked, delivered or unacked; may be repeated (default all)")
	users := c.list("user", "`NAME` of a user; may be repeated (default all)")
	position := c.flags.String("position", "", "`POSITION` to go on from, as -json printed it (default now)")
	return func(ctx context.Context) error {
		ctx, cc, err := c.dial(ctx)
		if err != nil {
			return err
		}
		defer cc.Close()
		api := pushv1.NewConnectionServiceClient(cc)
		req := &pushv1.WatchRequest{Kinds: *kinds, Users: *users, Position: *position}
		return c.explain(c.again(ctx, func(ctx context.Context) error {
			stream, err := api.Watch(ctx, req)
			for err == nil {
				var resp *pushv1.WatchResponse
				if resp, err = stream.Recv(); err == nil {
					err = c.events(resp)
					req.Position = resp.GetPosition()
				}
			}
			if errors.Is(err, io.EOF) {
				return retriable{error: errors.New("pushd ended the stream")}
			}
			return err
		}))
	}
}

// events prints a response: the whole of it as JSON, or a line for each event.
func (c *call) events(resp *pushv1.WatchResponse) error {
	if c.json {
		return c.result(resp, "")
	}
	if resp.GetLost() {
		if err := c.line("Events were lost here: see presence and receipts for what is so now."); err != nil {
			return err
		}
	}
	for _, e := range resp.GetEvents() {
		about := ""
		switch {
		case e.GetMessage() != "":
			about = "  message " + e.GetMessage()
		case e.GetCursor() != "":
			about = "  cursor " + e.GetCursor()
		}
		if err := c.line("%s  %-12s  %s%s", clockOf(e.GetTime()), e.GetKind(), e.GetUser(), about); err != nil {
			return err
		}
	}
	return nil
}
