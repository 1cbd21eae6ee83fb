// Package chaos looks for messages that were lost while things failed.
//
// Its tests run several nodes on one Redis, push through all of them, hold
// clients on all of them that reconnect and resume, and meanwhile kill, stop,
// cut and move what they can. Everybody writes down what it did and saw. Then
// everything is healed, all histories are read to their end, and [Record.Check]
// compares, in the way of Jepsen (K. Kingsbury, jepsen.io): a push that was
// answered OK must be there, one that failed must not, and one whose outcome is
// unknown may, but once.
//
// A run prints its seed. -chaos.seed plays it again: the same pushes and the
// same faults in the same order, though not to the microsecond. -chaos.duration
// is how long each run lasts; make chaos makes them minutes.
package chaos
