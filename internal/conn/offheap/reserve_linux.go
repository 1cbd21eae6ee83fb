//go:build linux && !race

package offheap

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// reserve maps memory that the system fills with zeros as it is touched.
func reserve[T any](n int) ([]T, func() error, error) {
	var t T
	size := n * int(unsafe.Sizeof(t))
	b, err := unix.Mmap(-1, 0, max(size, 1), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, nil, err
	}
	entries := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
	return entries, func() error { return unix.Munmap(b) }, nil
}
