//go:build linux && !fallback

package uring

// The part of the kernel's interface (include/uapi/linux/io_uring.h) that the
// ring needs. Names follow the header; sizes are checked in a test.

const (
	offRings = 0          // IORING_OFF_SQ_RING: both rings, by FEAT_SINGLE_MMAP
	offSQEs  = 0x10000000 // IORING_OFF_SQES

	setupSubmitAll   = 1 << 7 // a request that cannot start does not hold up the rest (5.18)
	setupCoopTaskrun = 1 << 8 // no interrupt to run completions (5.19)

	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1
	featCQESkip    = 1 << 11 // 5.17

	opSend         = 26
	sqeSkipSuccess = 1 << 6 // IOSQE_CQE_SKIP_SUCCESS
)

// params is struct io_uring_params.
type params struct {
	sqEntries    uint32
	cqEntries    uint32
	flags        uint32
	sqThreadCPU  uint32
	sqThreadIdle uint32
	features     uint32
	wqFD         uint32
	_            [3]uint32
	sq           sqOffsets
	cq           cqOffsets
}

// sqOffsets says where the submission ring's fields lie in the mapping.
type sqOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array uint32
	_                                                        uint32
	_                                                        uint64
}

// cqOffsets says where the completion ring's fields lie in the mapping.
type cqOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags uint32
	_                                                        uint32
	_                                                        uint64
}

// sqe is struct io_uring_sqe: one request.
type sqe struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	off      uint64
	addr     uint64
	len      uint32
	msgFlags uint32
	userData uint64
	bufIndex uint16
	_        uint16
	_        uint32
	_        [2]uint64
}

// cqe is struct io_uring_cqe: the outcome of one request.
type cqe struct {
	userData uint64
	res      int32 // bytes, or an errno below zero
	flags    uint32
}
