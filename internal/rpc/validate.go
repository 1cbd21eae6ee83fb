package rpc

import (
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	"pushd.example/internal/history"
)

// FieldError is a fault of the request: the same request fails again. Its text
// begins with the field, and names the limit and the size.
type FieldError struct {
	// Field is the path of the field as the caller writes it, such as "users[3]".
	// It is "body" when the body as a whole is at fault.
	Field string
	// Problem says what is allowed and what was sent.
	Problem string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// maxKey is the most bytes in an idempotency key.
const maxKey = 128

// The bounds of a ttl. Ids count milliseconds; messages to be kept for longer than
// ten years belong in another store.
const (
	minTTL = time.Millisecond
	maxTTL = 10 * 365 * 24 * time.Hour
)

// checkUser checks a user as [history.CheckUser] does, and names the field. Groups
// have the same rules ([history.CheckGroup]).
func checkUser(field, user string) error {
	if user == "" {
		return &FieldError{field, "required"}
	}
	return checkText(field, user, history.MaxUser)
}

func checkUsers(users []string, most int) error {
	if len(users) < 1 || len(users) > most {
		return &FieldError{"users", fmt.Sprintf("between 1 and %d users, got %d", most, len(users))}
	}
	return checkNames("users", users)
}

// checkNames checks each of a list of users or groups with checkUser.
func checkNames(field string, names []string) error {
	for i, name := range names {
		if checkUser("", name) != nil {
			return checkUser(fmt.Sprintf("%s[%d]", field, i), name)
		}
	}
	return nil
}

// checkText checks that text is at most so many bytes of UTF-8. It may be empty.
func checkText(field, text string, most int) error {
	switch {
	case len(text) > most:
		return tooLong(field, most, len(text))
	case !utf8.ValidString(text):
		return &FieldError{field, "not valid UTF-8"}
	}
	return nil
}

// checkEphemeral refuses fields that make sense only for messages that are kept.
func checkEphemeral(req sendRequest) error {
	if !req.GetEphemeral() {
		return nil
	}
	field := ""
	switch {
	case req.GetIdempotencyKey() != "":
		field = "idempotency_key"
	case req.GetTtl() != nil:
		field = "ttl"
	case req.GetDurability() != "":
		field = "durability"
	case req.GetCollapseKey() != "":
		field = "collapse_key"
	default:
		return nil
	}
	return notKept(field)
}

func notKept(field string) error {
	return &FieldError{field, "cannot be set together with ephemeral: such a message is not kept"}
}

// checkTTL returns 0 for an unset ttl.
func checkTTL(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	return checkDuration("ttl", d, minTTL, maxTTL)
}

// checkUnackedAfter returns 0 for an unset notify_unacked_after of p.
func checkUnackedAfter(d *durationpb.Duration, p *history.Push) (time.Duration, error) {
	const field = "notify_unacked_after"
	if d == nil {
		return 0, nil
	}
	if p.Ephemeral {
		return 0, notKept(field)
	}
	after, err := checkDuration(field, d, history.MinUnackedAfter, history.MaxUnackedAfter)
	if err == nil && p.TTL != 0 && history.WholeMillis(after) >= history.WholeMillis(p.TTL) {
		err = &FieldError{field, fmt.Sprintf("less than the ttl, which is %v, got %v", p.TTL, after)}
	}
	return after, err
}

// checkDuration checks that d is between least and most. A value that overflows a
// time.Duration is out of bounds too: AsDuration returns the nearest one.
func checkDuration(field string, d *durationpb.Duration, least, most time.Duration) (time.Duration, error) {
	switch got := d.AsDuration(); {
	case got < least:
		return 0, &FieldError{field, fmt.Sprintf("at least %v, got %v", least, got)}
	case got > most:
		return 0, &FieldError{field, fmt.Sprintf("at most %v, got %v", most, got)}
	default:
		return got, nil
	}
}

// checkDurability parses a durability; "" means the store's own.
func checkDurability(name string) (history.Durability, error) {
	switch name {
	case "":
		return history.AsConfigured, nil
	case "memory":
		return history.Memory, nil
	case "replicated":
		return history.Replicated, nil
	}
	return 0, &FieldError{"durability", fmt.Sprintf("want \"memory\", \"replicated\" or empty, got %q", clip(name))}
}

func tooLong(field string, most, got int) error {
	return &FieldError{field, fmt.Sprintf("at most %d bytes, got %d", most, got)}
}
