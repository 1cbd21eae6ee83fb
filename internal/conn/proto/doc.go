// Package proto is the protocol of one client connection, as pure functions
// on bytes: no I/O, no clock, no goroutine, and nothing allocated on the way
// of a frame in either direction.
//
// A connection goes through three of them:
//
//	bytes ─▶ HeadEnd ─▶ Request.Parse ─▶ AppendUpgrade        the handshake,
//	                          └────────▶ AppendHTTPError      or its refusal,
//	                                     AppendPageRefusal    of a browser page
//	bytes ─▶ State.Next ─▶ Event (─▶ Inflater) ─▶ ParseClient client to server
//	AppendHello, AppendMessage, AppendPong … (─▶ Deflater)    server to client
//
// The caller owns every buffer but those of a Deflater and an Inflater; it needs
// one of each for all its connections. Parse and Next return views into the
// caller's bytes; Append… returns dst, grown only if it was too small.
//
// # What is ours and what is gobwas/ws
//
// Frame headers are judged by ws.CheckHeader and payloads unmasked by
// ws.Cipher. Decoding a header and the handshake are written here:
//
//   - ws.ReadHeader and ws.Upgrader pull from a blocking reader. On a socket
//     that does not block they lose their place in mid-header; bytes that
//     follow the blank line are lost with the upgrader's buffer.
//   - Authorization lies between request and answer and may have to wait;
//     Upgrade does both in one call.
//   - Upgrade leaves open what a public port has to refuse: repeated fields, a
//     key that is not base64, a body, and it answers nothing at all to a
//     request line that it cannot read.
//   - It is no quicker. BenchmarkHandshake, a browser's request of 585 bytes
//     from memory: 0.70 µs and no allocation here, with all those checks and
//     the query read; 0.83 µs and 2 allocations there, without.
//
// ws.CheckCloseFrameData is not used: it refuses 1012 to 1014, which are
// registered, and accepts codes from 5000, which do not exist.
package proto
