//go:build cgo

package main

/*
#include <stdint.h>
#include <sys/socket.h>

static int send_all(const int32_t *fds, int n, const void *frame, size_t size) {
	int failed = 0;
	for (int i = 0; i < n; i++)
		if (send(fds[i], frame, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
			failed++;
	return failed;
}
*/
import "C"

import "unsafe"

const sendLoop = "C"

// sendAll sends frame to every descriptor and returns how often that failed.
func sendAll(fds []int32, frame []byte) int {
	if len(fds) == 0 {
		return 0
	}
	return int(C.send_all((*C.int32_t)(unsafe.Pointer(&fds[0])), C.int(len(fds)), unsafe.Pointer(&frame[0]), C.size_t(len(frame))))
}
