package engine

import (
	"fmt"
	"time"

	"pushd.example/internal/history"
)

// CursorSkew is how far ahead of the clock an id in a cursor may lie: a store
// that lost its tail may meet cursors past its head, but not from next week.
const CursorSkew = time.Minute

// Clamp returns c with each id that lies past head taken back to head. It returns
// an error wrapping [history.ErrCursor] if such an id lies further in the future
// than any store can have given: the cursor is damaged, or of another system. Ids
// up to head are good whatever the clock says: it may have been set back.
func Clamp(c, head history.Cursor, now time.Time) (history.Cursor, error) {
	last := history.FirstIDAt(now.Add(CursorSkew))
	if c.Inbox > max(head.Inbox, last) || c.Broadcast > max(head.Broadcast, last) {
		return history.Cursor{}, fmt.Errorf("%w: it names a message from the future", history.ErrCursor)
	}
	return c.Min(head), nil
}
