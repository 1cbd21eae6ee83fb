package rpc

import (
	"context"
	"fmt"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
)

// groups is GroupService.
type groups struct {
	pushv1.UnimplementedGroupServiceServer

	store    history.Groups
	maxUsers int // in one request
}

// AddMembers implements pushv1.GroupServiceServer.
func (g *groups) AddMembers(ctx context.Context, req *pushv1.AddMembersRequest) (*pushv1.AddMembersResponse, error) {
	if err := g.checkMembers(req.GetGroup(), req.GetUsers()); err != nil {
		return nil, err
	}
	added, err := g.store.AddMembers(ctx, req.GetGroup(), req.GetUsers())
	if err != nil {
		return nil, fmt.Errorf("adding members: %w", err)
	}
	return &pushv1.AddMembersResponse{Added: count(added)}, nil
}

// RemoveMembers implements pushv1.GroupServiceServer.
func (g *groups) RemoveMembers(ctx context.Context, req *pushv1.RemoveMembersRequest) (*pushv1.RemoveMembersResponse, error) {
	if err := g.checkMembers(req.GetGroup(), req.GetUsers()); err != nil {
		return nil, err
	}
	removed, err := g.store.RemoveMembers(ctx, req.GetGroup(), req.GetUsers())
	if err != nil {
		return nil, fmt.Errorf("removing members: %w", err)
	}
	return &pushv1.RemoveMembersResponse{Removed: count(removed)}, nil
}

func (g *groups) checkMembers(group string, users []string) error {
	if err := checkUser("group", group); err != nil {
		return err
	}
	return checkUsers(users, g.maxUsers)
}

// ListMembers implements pushv1.GroupServiceServer.
func (g *groups) ListMembers(ctx context.Context, req *pushv1.ListMembersRequest) (*pushv1.ListMembersResponse, error) {
	if err := checkUser("group", req.GetGroup()); err != nil {
		return nil, err
	}
	users, next, err := list(ctx, g.store.Members, req.GetGroup(), req.Limit, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &pushv1.ListMembersResponse{Users: users, NextPageToken: next}, nil
}

// ListGroups implements pushv1.GroupServiceServer.
func (g *groups) ListGroups(ctx context.Context, req *pushv1.ListGroupsRequest) (*pushv1.ListGroupsResponse, error) {
	if err := checkUser("user", req.GetUser()); err != nil {
		return nil, err
	}
	names, next, err := list(ctx, g.store.GroupsOf, req.GetUser(), req.Limit, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &pushv1.ListGroupsResponse{Groups: names, NextPageToken: next}, nil
}

// lister is history.Groups.Members or GroupsOf.
type lister func(ctx context.Context, of, after string, limit int) (names []string, more bool, err error)

// list returns the page of names that a request asks for, and the token of the
// next page.
func list(ctx context.Context, read lister, of string, limit *int32, token string) (names []string, next string, err error) {
	n, err := listLimit(limit)
	if err != nil {
		return nil, "", err
	}
	after, err := readPageToken(token)
	if err != nil {
		return nil, "", err
	}
	names, more, err := read(ctx, of, after, n)
	if err != nil {
		return nil, "", fmt.Errorf("listing groups: %w", err)
	}
	if more {
		next = pageToken(names[len(names)-1])
	}
	return names, next, nil
}

// DeleteGroup implements pushv1.GroupServiceServer.
func (g *groups) DeleteGroup(ctx context.Context, req *pushv1.DeleteGroupRequest) (*pushv1.DeleteGroupResponse, error) {
	if err := checkUser("group", req.GetGroup()); err != nil {
		return nil, err
	}
	removed, err := g.store.DeleteGroup(ctx, req.GetGroup())
	if err != nil {
		return nil, fmt.Errorf("deleting a group: %w", err)
	}
	return &pushv1.DeleteGroupResponse{Removed: count(removed)}, nil
}

// inProcessGroups is GroupService for the gateway; see inProcess.
type inProcessGroups struct {
	pushv1.UnimplementedGroupServiceServer
	*inProcess
	svc pushv1.GroupServiceServer
}

// AddMembers implements pushv1.GroupServiceServer.
func (l *inProcessGroups) AddMembers(ctx context.Context, req *pushv1.AddMembersRequest) (*pushv1.AddMembersResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.GroupService_AddMembers_FullMethodName, req, l.svc.AddMembers)
}

// RemoveMembers implements pushv1.GroupServiceServer.
func (l *inProcessGroups) RemoveMembers(ctx context.Context, req *pushv1.RemoveMembersRequest) (*pushv1.RemoveMembersResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.GroupService_RemoveMembers_FullMethodName, req, l.svc.RemoveMembers)
}

// ListMembers implements pushv1.GroupServiceServer.
func (l *inProcessGroups) ListMembers(ctx context.Context, req *pushv1.ListMembersRequest) (*pushv1.ListMembersResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.GroupService_ListMembers_FullMethodName, req, l.svc.ListMembers)
}

// ListGroups implements pushv1.GroupServiceServer.
func (l *inProcessGroups) ListGroups(ctx context.Context, req *pushv1.ListGroupsRequest) (*pushv1.ListGroupsResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.GroupService_ListGroups_FullMethodName, req, l.svc.ListGroups)
}

// DeleteGroup implements pushv1.GroupServiceServer.
func (l *inProcessGroups) DeleteGroup(ctx context.Context, req *pushv1.DeleteGroupRequest) (*pushv1.DeleteGroupResponse, error) {
	return callInProcess(ctx, l.inProcess, pushv1.GroupService_DeleteGroup_FullMethodName, req, l.svc.DeleteGroup)
}
