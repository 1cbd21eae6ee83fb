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
//
// # What it costs
//
// CPU time of the sending process per 150-byte frame, to 15,000 sockets over
// loopback, where the receiver's half of TCP runs inside the send. Linux 6.18,
// 2 virtual cores shared with other work, hence the wide ranges; each way took
// turns with a loop of sendto, to which the ratio is. Medians and ranges of 3
// to 5 runs; to repeat: go test -run '^$' -bench . -sockets 15000 .
//
//	way                                   µs     of sendto
//	sendto, RawSyscall                    8.7    1
//	sendto, Syscall                       10.5   1.17 (1.12-1.30)
//	C, send(2)                            8.1    (same machine and hour, taken apart)
//	Ring, 1 entry                         9.7    1.04 (1.01-1.12)
//	Ring, 2 entries                       7.4    0.84 (0.82-0.86)
//	Ring, 3 entries                       5.2    0.72 (0.71-0.75)
//	Ring, 4 entries                       5.7    0.66 (0.65-0.72)
//	Ring, 16 entries                      5.3    0.58 (0.57-0.65)
//	Ring, 64 entries                      4.2    0.49 (0.43-0.62)
//	Ring, 128 entries                     4.0    0.45 (0.40-0.58)
//	Ring, 512 entries                     4.0    0.44 (0.38-0.60)
//	Ring, 2048 entries                    4.0    0.44 (0.37-0.61)
//	  2 messages in each send             2.1    0.23
//	  4 messages                          0.95   0.11
//	  8 messages                          0.50   0.06
//
// The interrupt thread (ksoftirqd) works about 0.2 µs a send more beside the
// ring than beside sendto; it is not in the figures.
//
// How many to submit at once, without and with telling the scheduler:
//
//	sends            32     64     128    256    512    1024   2048
//	RawSyscall, µs   4.6    4.2    4.0    3.7    3.6    3.5    4.1
//	Syscall, µs      5.1    4.6    4.9    4.0    3.8    3.8    4.6
//
// So 128 at once without telling the scheduler cost as little as 512 with it
// (whose loss of the processor, and winning it back, is dearest with short
// calls), and keep the processor for 0.5 ms, not 2.
//
// Tried and left out, on 128 entries and a locked thread; the ring as it is has
// 0.41 of sendto (0.39-0.57) there, and differences of 0.05 are noise:
//
//	no COOP_TASKRUN                 0.45   nothing ever runs as task work; kept, as it is free
//	SINGLE_ISSUER                   0.41   binds the ring to a thread for nothing
//	SINGLE_ISSUER|DEFER_TASKRUN     0.40   the same
//	every completion reported       0.41   no dearer for the kernel; but 15,000 entries to read
//	registered files                0.41   2.2 µs to register each; holds the socket open after close
//	registered ring                 0.42   belongs to a thread too
//	SQPOLL                          –      4.6 µs: the kernel's thread works as much, and spins on a core
//	SEND_ZC                         –      EOPNOTSUPP on accepted sockets; two completions a send
//
// It helps most not to send: messages for the same receiver should be
// put together.
package uring
