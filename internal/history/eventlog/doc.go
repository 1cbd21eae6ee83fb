// Package eventlog keeps the events of engines that are one process: in memory,
// so that a restart begins another log, which readers are told.
//
// Nothing runs in the background. The next call of any kind records that a user is
// disconnected; a reader that waits wakes up in time for it.
package eventlog
