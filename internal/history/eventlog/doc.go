// Package eventlog keeps the events of engines that are one process: in memory,
// so that a restart begins another log, which readers are told.
//
// Nothing runs by itself. That a user is gone is found out by whatever is called
// next, and a reader that waits is woken in time for it.
package eventlog
