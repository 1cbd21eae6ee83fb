package history

import "context"

// Groups keeps which users are in which group. A group exists while it has a
// member. A multicast to a group goes to those who are members when it is sent;
// who joins later does not see it.
//
// All methods may be called from any goroutine. Each is one step: nobody sees
// half of a batch, and what one wrote is there, as durable as an Append, when
// it returns. A user named twice counts once; a batch of nobody changes
// nothing. Bad names, and a limit below 1, are refused before
// anything is done. Errors: ErrGroup, ErrUser, and those of [Store].
type Groups interface {
	// AddMembers puts users into group and returns how many were not in it.
	AddMembers(ctx context.Context, group string, users []string) (added int, err error)

	// RemoveMembers takes users out of group and returns how many were in it.
	RemoveMembers(ctx context.Context, group string, users []string) (removed int, err error)

	// Members returns the first limit members of group after the given user, in
	// the order of their bytes, and whether there are more. The empty user lies
	// before all; the one given need not be a member, nor be good. A group that
	// nobody is in has no members.
	Members(ctx context.Context, group, after string, limit int) (users []string, more bool, err error)

	// GroupsOf returns the first limit groups of user after the given group, in
	// the order of their bytes, and whether there are more.
	GroupsOf(ctx context.Context, user, after string, limit int) (groups []string, more bool, err error)

	// DeleteGroup takes every member out of group and returns how many there
	// were.
	DeleteGroup(ctx context.Context, group string) (removed int, err error)
}

// MaxGroup is the most bytes in the name of a group.
const MaxGroup = 128

// CheckGroup returns an error wrapping [ErrGroup] unless group is 1 to MaxGroup
// bytes of UTF-8.
func CheckGroup(group string) error { return checkName(ErrGroup, group, MaxGroup) }
