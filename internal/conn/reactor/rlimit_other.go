//go:build !unix

package reactor

// openFiles returns a number that is far beyond what these systems are used
// for here.
func openFiles() int { return 1 << 16 }

func defaultConnections() int { return openFiles() - reserve(openFiles()) }
