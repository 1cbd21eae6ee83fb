package history

import (
	"errors"
	"fmt"
	"time"
)

// Check returns nil if p can be appended, an error wrapping [ErrUser] if one of
// its users is bad, and another error if its fields do not fit together.
func (p Push) Check() error {
	if err := p.checkShape(); err != nil {
		return err
	}
	for _, user := range p.Users {
		if err := CheckUser(user); err != nil {
			return err
		}
	}
	return nil
}

func (p Push) checkShape() error {
	n := len(p.Users)
	switch {
	case p.Kind < Unicast || p.Kind > Broadcast:
		return fmt.Errorf("push of unknown %v: want a unicast, multicast or broadcast", p.Kind)
	case p.Kind == Unicast && n != 1:
		return fmt.Errorf("unicast to %d users: it goes to exactly one", n)
	case p.Kind == Multicast && n == 0:
		return errors.New("multicast to no user: name at least one")
	case p.Kind == Broadcast && n != 0:
		return fmt.Errorf("broadcast to %d users: it goes to everybody and names none", n)
	case p.TTL < 0:
		return fmt.Errorf("push with ttl %v: it is 0 for none, or positive", p.TTL)
	case p.Ephemeral && (p.TTL != 0 || p.IdempotencyKey != "" || p.CollapseKey != "" || p.UnackedAfter != 0 || p.Durability != AsConfigured):
		return errors.New("ephemeral push with a ttl, idempotency key, collapse key, unacked event or durability: it is not kept, so leave them out")
	case p.UnackedAfter != 0 && p.Kind == Broadcast:
		return errors.New("broadcast with an unacked event: only a unicast or multicast has recipients to check")
	case p.UnackedAfter != 0 && (p.UnackedAfter < MinUnackedAfter || p.UnackedAfter > MaxUnackedAfter):
		return fmt.Errorf("push with an unacked event after %v: want %v to %v", p.UnackedAfter, MinUnackedAfter, MaxUnackedAfter)
	case p.UnackedAfter != 0 && p.TTL != 0 && WholeMillis(p.UnackedAfter) >= WholeMillis(p.TTL):
		return fmt.Errorf("push with an unacked event after %v and a ttl of %v: the event must come before the message expires", p.UnackedAfter, p.TTL)
	case len(p.CollapseKey) > MaxCollapseKey:
		return fmt.Errorf("push with a collapse key of %d bytes: at most %d", len(p.CollapseKey), MaxCollapseKey)
	case len(p.ExcludeConnection) > MaxConnection:
		return fmt.Errorf("push that excludes a connection with an id of %d bytes: at most %d", len(p.ExcludeConnection), MaxConnection)
	}
	return nil
}

// WholeMillis rounds d up to milliseconds, in which TTL and UnackedAfter count.
func WholeMillis(d time.Duration) int64 {
	n := d.Milliseconds()
	if d%time.Millisecond > 0 {
		n++
	}
	return n
}

// Check returns an error unless q can be answered. Cursors are checked by the
// store, which knows its heads.
func (q Query) Check() error {
	if q.Direction > Backward {
		return fmt.Errorf("page in unknown direction %d: want Newest, Forward or Backward", q.Direction)
	}
	return checkBounds(q.Limit, q.MaxBytes)
}

// Check returns an error unless a connection can start so.
func (s Start) Check() error {
	switch s.At {
	case StartNow:
		return nil
	case StartAfter, StartUnread:
		return checkBounds(s.Limit, s.MaxBytes)
	}
	return fmt.Errorf("start at unknown place %d: want StartNow, StartAfter or StartUnread", s.At)
}

func checkBounds(limit, maxBytes int) error {
	if limit < 1 {
		return fmt.Errorf("page with limit %d: at least 1", limit)
	}
	if maxBytes < 0 {
		return fmt.Errorf("page of at most %d bytes: 0 for no bound, or positive", maxBytes)
	}
	return nil
}

// Check returns an error if a field of r is negative.
func (r Retention) Check() error {
	if r.InboxCount < 0 || r.InboxAge < 0 || r.BroadcastCount < 0 || r.BroadcastAge < 0 || r.IdempotencyKeys < 0 {
		return fmt.Errorf("negative retention %+v: want 0 for the default, or positive values", r)
	}
	return nil
}
