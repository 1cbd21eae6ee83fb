package rpc

import (
	"context"
	"fmt"

	pushv1 "pushd.example/api/push/v1"
)

const (
	maxGroups = 100  // in a multicast
	maxExcept = 1000 // in a multicast
	// membersPage is the number of members in one read of a group. A group with
	// no more members is read at one point in time.
	membersPage = 10_000
)

// checkRecipients checks the lists of a multicast. A request that names neither
// users nor groups is an error; one that has no recipients left is not.
func (s *service) checkRecipients(req *pushv1.MulticastRequest) error {
	groups, except := req.GetGroups(), req.GetExcept()
	if len(req.GetUsers()) > 0 || len(groups) == 0 {
		if err := checkUsers(req.GetUsers(), s.limits.MaxUsers); err != nil {
			return err
		}
	}
	if len(groups) > maxGroups {
		return &FieldError{"groups", fmt.Sprintf("at most %d groups, got %d", maxGroups, len(groups))}
	}
	if len(except) > maxExcept {
		return &FieldError{"except", fmt.Sprintf("at most %d users, got %d", maxExcept, len(except))}
	}
	if err := checkNames("groups", groups); err != nil {
		return err
	}
	return checkNames("except", except)
}

// recipients returns the recipients of req, which checkRecipients has accepted.
// Each is returned once if req has groups or exceptions; otherwise the store
// removes duplicates.
func (s *service) recipients(ctx context.Context, req *pushv1.MulticastRequest) ([]string, error) {
	if len(req.GetGroups()) == 0 && len(req.GetExcept()) == 0 {
		return req.GetUsers(), nil
	}
	u := union{seen: make(map[string]struct{}, len(req.GetUsers()))}
	for _, user := range req.GetExcept() {
		u.seen[user] = struct{}{}
	}
	u.add(req.GetUsers())
	for _, group := range req.GetGroups() {
		if err := s.addMembers(ctx, &u, group); err != nil {
			return nil, err
		}
	}
	return u.users, nil
}

// addMembers adds the members of group to u. Too many recipients are an error.
func (s *service) addMembers(ctx context.Context, u *union, group string) error {
	after := ""
	for more := true; more; {
		var page []string
		var err error
		if page, more, err = s.groups.Members(ctx, group, after, membersPage); err != nil {
			return fmt.Errorf("reading a group: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		u.add(page)
		if most := s.limits.MaxRecipients; len(u.users) > most {
			return &FieldError{"groups", fmt.Sprintf("at most %d recipients in all, got %d or more", most, len(u.users))}
		}
		after = page[len(page)-1]
	}
	return nil
}

// union collects users, each once.
type union struct {
	seen  map[string]struct{} // users, and exceptions
	users []string
}

func (u *union) add(users []string) {
	for _, user := range users {
		if _, ok := u.seen[user]; !ok {
			u.seen[user] = struct{}{}
			u.users = append(u.users, user)
		}
	}
}
