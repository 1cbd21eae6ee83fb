package history

import "errors"

// Callers decide by these errors what to do; engines wrap them with what happened.
var (
	// Bad input: the same call fails again.

	// ErrUser: the user is empty, longer than [MaxUser] bytes or not UTF-8.
	ErrUser = errors.New("bad user")
	// ErrGroup: the group is empty, longer than [MaxGroup] bytes or not UTF-8.
	ErrGroup = errors.New("bad group")
	// ErrCursor: not a cursor of this system, or damaged.
	ErrCursor = errors.New("bad cursor")
	// ErrID: not a message id.
	ErrID = errors.New("bad message id")
	// ErrNotFound: no message has this id, or retention has dropped it.
	ErrNotFound = errors.New("no such message")

	// Trouble of the store: reads may still work, and the same append may
	// succeed later.

	// ErrReadOnly: the store could not write (disk full, I/O error) and takes no
	// appends until it can again. Acknowledged appends are kept.
	ErrReadOnly = errors.New("history is read-only")
	// ErrUnavailable: the server or the directory that keeps the history cannot be
	// reached, or refuses work for now. Nothing was done; the same call may succeed later.
	ErrUnavailable = errors.New("history is unavailable")
	// ErrUnknown: the answer to an append was lost on its way, so it may have
	// been stored or not. A retry with the same Key does it exactly once.
	ErrUnknown = errors.New("outcome unknown")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("history is closed")

	// Opening.

	// ErrLocked: another process has the data directory open.
	ErrLocked = errors.New("data directory is in use by another process")
)
