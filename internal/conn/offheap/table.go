// Package offheap holds what there is one of per connection where the garbage
// collector does not look: a million connections must not lengthen a cycle.
//
// Nothing in here may hold a pointer. Nothing locks: an entry is touched by
// the owner of its index alone.
package offheap

import (
	"fmt"
	"reflect"
)

// Table is an array of T, as long as asked for, of which memory is used only
// where it was touched. T must hold no pointers.
type Table[T any] struct {
	entries []T
	release func() error
}

// NewTable reserves n zero entries.
func NewTable[T any](n int) (*Table[T], error) {
	if t := reflect.TypeFor[T](); hasPointers(t) {
		return nil, fmt.Errorf("offheap: %v holds pointers", t)
	}
	entries, release, err := reserve[T](n)
	if err != nil {
		return nil, fmt.Errorf("reserving a table of %d entries: %w", n, err)
	}
	return &Table[T]{entries, release}, nil
}

// At returns entry i; it panics when i is out of range.
func (t *Table[T]) At(i uint32) *T { return &t.entries[i] }

// Len returns how many entries there are.
func (t *Table[T]) Len() int { return len(t.entries) }

// Close gives the memory back. The table must not be used any more.
func (t *Table[T]) Close() error {
	t.entries = nil
	return t.release()
}

func hasPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return t.Len() > 0 && hasPointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	}
	return t.Kind() < reflect.Bool || t.Kind() > reflect.Complex128
}
