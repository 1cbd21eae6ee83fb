package reactor

import "sync"

// Mailbox carries items to a loop from other goroutines. The zero Mailbox has
// no bound.
type Mailbox[T any] struct {
	// Limit bounds the weight of what waits; 0 means none. An item always
	// fits into an empty mailbox. Set once, before use.
	Limit int

	mu     sync.Mutex
	room   *sync.Cond // made by the first Put that has to wait
	items  []T
	weight int
	closed bool
}

// Put adds items that weigh so much together, waiting for room. It reports
// false when the mailbox is closed, and then has taken none. The caller wakes
// the loop.
func (m *Mailbox[T]) Put(weight int, items ...T) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.closed && m.Limit > 0 && len(m.items) > 0 && m.weight+weight > m.Limit {
		if m.room == nil {
			m.room = sync.NewCond(&m.mu)
		}
		m.room.Wait()
	}
	if m.closed {
		return false
	}
	m.items = append(m.items, items...)
	m.weight += weight
	return true
}

// Take empties the mailbox in exchange for an empty slice to fill next.
func (m *Mailbox[T]) Take(spare []T) []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.items) == 0 {
		return spare
	}
	items := m.items
	m.items, m.weight = spare, 0
	if m.room != nil {
		m.room.Broadcast()
	}
	return items
}

// Empty reports whether nothing waits.
func (m *Mailbox[T]) Empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.items) == 0
}

// Close makes every Put, waiting ones included, fail, and returns what was not
// taken.
func (m *Mailbox[T]) Close() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	items := m.items
	m.items = nil
	if m.room != nil {
		m.room.Broadcast()
	}
	return items
}
