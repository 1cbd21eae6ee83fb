package netpoll

// Answer sends response to a connection that is turned away and closes it. It
// reads what has come first: closing a socket with unread input resets it, and
// the peer might never see the response.
func Answer(n *Net, socket int, response []byte) {
	var head [8 << 10]byte
	n.Recv(socket, head[:])
	n.Sendv(socket, [][]byte{response})
	n.CloseWrite(socket)
	n.Close(socket)
}
