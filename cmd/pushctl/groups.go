package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pushv1 "pushd.example/api/push/v1"
)

// groupCommand declares -group and returns a run that makes one exchange with
// the group's name.
func groupCommand(c *call, exchange func(ctx context.Context, api pushv1.GroupServiceClient, group string) error) func(context.Context) error {
	group := c.flags.String("group", "", "`NAME` of the group")
	return func(ctx context.Context) error {
		if *group == "" {
			return usagef("set -group, the name of the group")
		}
		return c.ask(ctx, func(ctx context.Context, cc *grpc.ClientConn) error {
			return exchange(ctx, pushv1.NewGroupServiceClient(cc), *group)
		})
	}
}

func groupsList(c *call) func(context.Context) error {
	return groupCommand(c, func(ctx context.Context, api pushv1.GroupServiceClient, group string) error {
		return c.pages("user", func(token string) ([]string, string, error) {
			resp, err := api.ListMembers(ctx, &pushv1.ListMembersRequest{Group: group, Limit: proto.Int32(pageSize), PageToken: token})
			return resp.GetUsers(), resp.GetNextPageToken(), err
		})
	})
}

func groupsAdd(c *call) func(context.Context) error {
	users := c.list("user", "`NAME` of a user; may be repeated")
	return groupCommand(c, func(ctx context.Context, api pushv1.GroupServiceClient, group string) error {
		resp, err := api.AddMembers(ctx, &pushv1.AddMembersRequest{Group: group, Users: *users})
		if err != nil {
			return err
		}
		return c.result(resp, "added %s", count(resp.GetAdded(), "user"))
	})
}

func groupsRemove(c *call) func(context.Context) error {
	users := c.list("user", "`NAME` of a user; may be repeated")
	return groupCommand(c, func(ctx context.Context, api pushv1.GroupServiceClient, group string) error {
		resp, err := api.RemoveMembers(ctx, &pushv1.RemoveMembersRequest{Group: group, Users: *users})
		if err != nil {
			return err
		}
		return c.result(resp, "removed %s", count(resp.GetRemoved(), "user"))
	})
}

func groupsDelete(c *call) func(context.Context) error {
	return groupCommand(c, func(ctx context.Context, api pushv1.GroupServiceClient, group string) error {
		resp, err := api.DeleteGroup(ctx, &pushv1.DeleteGroupRequest{Group: group})
		if err != nil {
			return err
		}
		return c.result(resp, "removed %s", count(resp.GetRemoved(), "user"))
	})
}

func groupsOf(c *call) func(context.Context) error {
	user := c.oneUser()
	return func(ctx context.Context) error {
		name, err := user()
		if err != nil {
			return err
		}
		return c.ask(ctx, func(ctx context.Context, cc *grpc.ClientConn) error {
			api := pushv1.NewGroupServiceClient(cc)
			return c.pages("group", func(token string) ([]string, string, error) {
				resp, err := api.ListGroups(ctx, &pushv1.ListGroupsRequest{User: name, Limit: proto.Int32(pageSize), PageToken: token})
				return resp.GetGroups(), resp.GetNextPageToken(), err
			})
		})
	}
}
