package nodes

import "pushd.example/internal/conn"

// question goes to every node. Exactly one of the pointers is set.
type question struct {
	ID   uint64 `json:"id"`
	From string `json:"from"` // the member to answer

	Presence    []string        `json:"presence,omitempty"`
	Online      *onlineQuestion `json:"online,omitempty"`
	Connections *string         `json:"connections,omitempty"`
	Disconnect  *conn.Departure `json:"disconnect,omitempty"`
}

type onlineQuestion struct {
	After string `json:"after"`
	Limit int    `json:"limit"`
}

// answer is what one node says to a question.
type answer struct {
	ID    uint64 `json:"id"`
	Node  string `json:"node"`
	Error string `json:"error,omitempty"`

	Counts      []int             `json:"counts,omitempty"`
	Users       []string          `json:"users,omitempty"`
	More        bool              `json:"more,omitempty"`
	Connections []conn.Connection `json:"connections,omitempty"`
	Closed      int               `json:"closed,omitempty"`
}
