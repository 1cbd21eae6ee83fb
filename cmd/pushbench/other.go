//go:build !linux

// Command pushbench finds out what a push server can take. It needs Linux,
// whose epoll lets one process hold many connections at little cost; the server
// may run anywhere.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "pushbench: needs Linux; the server that it measures may run on another system")
	os.Exit(1)
}
