//go:build unix

package reactor

import "golang.org/x/sys/unix"

// openFiles returns how many files the process may have open.
func openFiles() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 1024
	}
	return int(min(r.Cur, 1<<30))
}

func defaultConnections() int {
	n := openFiles()
	return min(n-reserve(n), maxConnections)
}
