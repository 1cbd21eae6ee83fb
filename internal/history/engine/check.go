package engine

import (
	"fmt"

	"pushd.example/internal/history"
)

// CheckMembers returns an error wrapping [history.ErrGroup] or [history.ErrUser]
// unless users can be put into group or taken out of it.
func CheckMembers(group string, users []string) error {
	if err := history.CheckGroup(group); err != nil {
		return err
	}
	for _, user := range users {
		if err := history.CheckUser(user); err != nil {
			return err
		}
	}
	return nil
}

// CheckList returns an error unless a list can have limit entries: at least 1.
func CheckList(limit int) error {
	if limit < 1 {
		return fmt.Errorf("list of at most %d names: the limit is at least 1", limit)
	}
	return nil
}
