package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pushv1 "pushd.example/api/push/v1"
)

const pageSize = 1000 // the most that pushd lists at once

func presence(c *call) func(context.Context) error {
	users := c.list("user", "`NAME` of a user; may be repeated (default all who are connected)")
	details := c.flags.Bool("connections", false, "list each connection of the users")
	return func(ctx context.Context) error {
		if *details && len(*users) == 0 {
			return usagef("set -user, whose connections are to be listed")
		}
		return c.ask(ctx, func(ctx context.Context, cc *grpc.ClientConn) error {
			api := pushv1.NewConnectionServiceClient(cc)
			switch {
			case *details:
				return c.connections(ctx, api, *users)
			case len(*users) == 0:
				return c.online(ctx, api)
			}
			resp, err := api.Presence(ctx, &pushv1.PresenceRequest{Users: *users})
			if err != nil {
				return err
			}
			for _, u := range resp.GetUsers() {
				text := "offline"
				if u.GetOnline() {
					text = "online, " + count(u.GetConnections(), "connection")
				}
				if err := c.result(u, "%s: %s", u.GetUser(), text); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// online lists everybody who is connected.
func (c *call) online(ctx context.Context, api pushv1.ConnectionServiceClient) error {
	return c.pages("user", func(token string) ([]string, string, error) {
		resp, err := api.ListOnline(ctx, &pushv1.ListOnlineRequest{Limit: proto.Int32(pageSize), PageToken: token})
		return resp.GetUsers(), resp.GetNextPageToken(), err
	})
}

// pages prints the names of all pages, each on a line, in JSON as {"thing":name}.
func (c *call) pages(thing string, get func(token string) (names []string, next string, err error)) error {
	for token := ""; ; {
		names, next, err := get(token)
		if err != nil {
			return err
		}
		for _, name := range names {
			text := name
			if c.json {
				object, err := encode(map[string]string{thing: name})
				if err != nil {
					return err
				}
				text = string(object)
			}
			if err := c.line("%s", text); err != nil {
				return err
			}
		}
		if token = next; token == "" {
			return nil
		}
	}
}

func (c *call) connections(ctx context.Context, api pushv1.ConnectionServiceClient, users []string) error {
	for _, user := range users {
		resp, err := api.ListConnections(ctx, &pushv1.ListConnectionsRequest{User: user})
		if err != nil {
			return fmt.Errorf("user %q: %w", user, c.explain(err))
		}
		for _, con := range resp.GetConnections() {
			if err := c.result(con, "%s  %s  node %s, from %s by %s since %s, %s", user, con.GetId(), con.GetNode(),
				con.GetAddress(), con.GetTransport(), clockOf(con.GetSince()), con.GetUserAgent()); err != nil {
				return err
			}
		}
	}
	return nil
}

func kick(c *call) func(context.Context) error {
	user := c.oneUser()
	connection := c.flags.String("connection", "", "`ID` of the connection to close (default all of the user's)")
	reason := c.flags.String("reason", "", "`TEXT` that the client is told, at most 123 bytes")
	refuse := c.duration("refuse", "`TIME` for which the user may not connect, at most 24h (default none)")
	return func(ctx context.Context) error {
		name, err := user()
		if err != nil {
			return err
		}
		return c.ask(ctx, func(ctx context.Context, cc *grpc.ClientConn) error {
			resp, err := pushv1.NewConnectionServiceClient(cc).Disconnect(ctx, &pushv1.DisconnectRequest{
				User: name, Connection: *connection, Reason: *reason, Refuse: *refuse,
			})
			if err != nil {
				return err
			}
			return c.result(resp, "closed %s", count(resp.GetDisconnected(), "connection"))
		})
	}
}
