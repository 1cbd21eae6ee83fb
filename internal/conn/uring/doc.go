// Package uring sends to many sockets with few system calls, by Linux's
// io_uring. Elsewhere, and with the build tag "fallback", it is empty.
//
// A [Ring] has no worker, no poller and nothing in flight between calls: Queue
// writes requests into memory shared with the kernel, Flush makes the kernel
// carry them out, on the calling thread, before it returns. It is send(2) in
// bulk, no more.
//
// # What the caller guarantees
//
//   - One goroutine at a time.
//   - From Queue to the end of Flush: the bytes do not change, the descriptor
//     stays open (or its number could by then be somebody else's), and occurs
//     once (after a short send a second one could find room and leave a hole).
//
// The ring itself keeps the bytes reachable; Go's heap does not move.
//
// # What the kernel guarantees, and how we know
//
//   - Requests are over when io_uring_enter returns. MSG_DONTWAIT marks a
//     request as one that must not wait, and such a one is failed with EAGAIN
//     where others would be polled or handed to a worker (io_queue_async in
//     io_uring/io_uring.c). TestFlushIsComplete counts the completions.
//   - Only failures are reported (IOSQE_CQE_SKIP_SUCCESS, since 5.17).
//   - A short send is a failure, but only with MSG_WAITALL (io_send in
//     io_uring/net.c: less than min_ret, which is 0 without it). The count of
//     what was sent survives since 6.1 (io_sendrecv_fail); before, EAGAIN would
//     hide it and the same bytes would be sent twice.
//   - A descriptor that is not open fails alone (IORING_SETUP_SUBMIT_ALL, 5.18).
//
// No feature flag tells the third, so New tries all of it on a socket pair and
// refuses a kernel that behaves otherwise. Requests that the kernel will not
// even take go out by sendmsg(2), so that none is ever lost.
package uring
