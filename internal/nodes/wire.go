package nodes

import "pushd.example/internal/conn"

// request goes to every node. Exactly one of its last four fields is set.
type request struct {
	ID   uint64 `json:"id"`
	From string `json:"from"` // the member to reply to

	Presence    []string        `json:"presence,omitempty"`    // users
	Online      *onlineRequest  `json:"online,omitempty"`      // a page of users
	Connections *string         `json:"connections,omitempty"` // a user
	Disconnect  *conn.Departure `json:"disconnect,omitempty"`
}

type onlineRequest struct {
	After string `json:"after"`
	Limit int    `json:"limit"`
}

// reply is the reply of one node to a request.
type reply struct {
	ID    uint64 `json:"id"`
	Node  string `json:"node"`
	Error string `json:"error,omitempty"`

	Counts      []int             `json:"counts,omitempty"`
	Users       []string          `json:"users,omitempty"`
	More        bool              `json:"more,omitempty"`
	Connections []conn.Connection `json:"connections,omitempty"`
	Closed      int               `json:"closed,omitempty"`
}
