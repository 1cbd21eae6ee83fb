package proto

import "github.com/gobwas/ws"

// CloseError is why a connection has to be failed (RFC 6455, section 7.1.7).
// All values are static.
type CloseError struct {
	// Code and Reason go into the Close frame; Reason is at most 123 bytes.
	Code   uint16
	Reason string
	// Metric is one short word for counters, of CloseErrorMetrics.
	Metric string
}

// CloseErrorMetrics are the words of all CloseErrors.
var CloseErrorMetrics = [...]string{"unmasked", "rsv", "opcode", "control", "continuation", "length",
	"close_code", "utf8", "deflate", "too_big", "fragments"}

// Error returns the reason.
func (e *CloseError) Error() string { return e.Reason }

// Errors in clients' frames.
var (
	errUnmasked     = &CloseError{closeProtocol, "frames from a client must be masked", "unmasked"}
	errRSV          = &CloseError{closeProtocol, "reserved bits are set that no extension gives a meaning to", "rsv"}
	errOpcode       = &CloseError{closeProtocol, "reserved opcode", "opcode"}
	errControlSize  = &CloseError{closeProtocol, "a control frame carries at most 125 bytes", "control"}
	errControlSplit = &CloseError{closeProtocol, "a control frame must not be fragmented", "control"}
	errContinuation = &CloseError{closeProtocol, "a continuation frame without a message to continue", "continuation"}
	errInterleaved  = &CloseError{closeProtocol, "a new message before the last one was finished", "continuation"}
	errLength       = &CloseError{closeProtocol, "the payload length is not in its shortest form, or over 63 bits", "length"}
	errCloseSize    = &CloseError{closeProtocol, "a close payload is empty or begins with a code of 2 bytes", "close_code"}
	errCloseCode    = &CloseError{closeProtocol, "this close code must not be sent", "close_code"}
	errText         = &CloseError{closeInvalid, "a text message must be UTF-8", "utf8"}
	errDeflate      = &CloseError{closeInvalid, "the message cannot be decompressed by itself", "deflate"}
	errCloseText    = &CloseError{closeInvalid, "a close reason must be UTF-8", "utf8"}
	errTooBig       = &CloseError{CloseTooBig, "the message is too big", "too_big"}
	errFragments    = &CloseError{CloseTooBig, "the message has too many fragments", "fragments"}
)

// headerError names what ws.CheckHeader found.
func headerError(err error) *CloseError {
	switch err {
	case ws.ErrProtocolMaskRequired:
		return errUnmasked
	case ws.ErrProtocolNonZeroRsv:
		return errRSV
	case ws.ErrProtocolControlPayloadOverflow:
		return errControlSize
	case ws.ErrProtocolControlNotFinal:
		return errControlSplit
	case ws.ErrProtocolContinuationUnexpected:
		return errContinuation
	case ws.ErrProtocolContinuationExpected:
		return errInterleaved
	}
	return errOpcode
}
