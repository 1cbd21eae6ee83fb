//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
)

// deflateOffer is what -compression offers (RFC 7692): a server that takes it
// compresses each message on its own, so that no connection needs a window.
const deflateOffer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

var errDeflateAnswer = errors.New("handshake: the server agrees to an extension that was not offered so")

// inflater undoes the compression of messages. A server that sends the same
// bytes to everybody has them undone once: what is measured on the same
// machine should not wait for that.
type inflater struct {
	in    *bytes.Reader
	flate io.ReadCloser
	last  []byte // payload, with what is left out on the wire behind it
	out   bytes.Buffer
}

// inflate returns the message of a compressed payload, until the next call.
func (z *inflater) inflate(payload []byte) ([]byte, error) {
	// The empty block that is left out on the wire, and a final one.
	const end = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"
	if len(z.last) == len(payload)+len(end) && bytes.Equal(z.last[:len(payload)], payload) {
		return z.out.Bytes(), nil
	}
	z.last = append(append(z.last[:0], payload...), end...)
	if z.in == nil {
		z.in = bytes.NewReader(nil)
		z.flate = flate.NewReader(z.in)
	}
	z.in.Reset(z.last)
	if err := z.flate.(flate.Resetter).Reset(z.in, nil); err != nil {
		return nil, err
	}
	z.out.Reset()
	_, err := z.out.ReadFrom(io.LimitReader(z.flate, maxFrame+1))
	if err != nil || z.out.Len() > maxFrame {
		z.last = z.last[:0]
		return nil, fmt.Errorf("protocol error: a compressed message cannot be decompressed, or to more than %d bytes: %w", maxFrame, err)
	}
	return z.out.Bytes(), nil
}
