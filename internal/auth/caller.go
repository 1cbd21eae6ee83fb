package auth

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// Caller is the holder of a credential.
type Caller struct {
	// Name is the API key's name; "" for a client token.
	Name string
	// Scopes are the API key's; 0 for a client token.
	Scopes Scope
	// User is the client token's user; "" for an API key.
	User string
	// Expires is when the credential stops being accepted: a client token's
	// exp plus [Leeway]. The zero time means never.
	Expires time.Time
	// Limiter limits the rate of all requests with the API key together. Nil means
	// no limit.
	Limiter *rate.Limiter
}

// Scope is a set of operations that an API key may do.
type Scope uint8

// The scopes.
const (
	Send      Scope = 1 << iota // unicast, multicast, ack on behalf of a user
	Broadcast                   // broadcast
	Read                        // any user's history and presence
	Manage                      // groups, connections, recalls, client tokens

	// All is every scope, written * in the API key file.
	All = Send | Broadcast | Read | Manage
)

// scopeNames are the names of the scopes, from the lowest bit to the highest.
var scopeNames = [...]string{"send", "broadcast", "read", "manage"}

// Has reports whether s holds all of want.
func (s Scope) Has(want Scope) bool { return s&want == want }

// String returns the names in s, separated by commas, as in the API key file.
func (s Scope) String() string {
	var words []string
	for i, name := range scopeNames {
		if s.Has(1 << i) {
			words = append(words, name)
		}
	}
	return strings.Join(words, ",")
}

func parseScopes(list string) (Scope, error) {
	if list == "*" {
		return All, nil
	}
	var scopes Scope
	for word := range strings.SplitSeq(list, ",") {
		scope, err := parseScope(word)
		if err != nil {
			return 0, err
		}
		scopes |= scope
	}
	return scopes, nil
}

// parseScope does not repeat word in its error: on a line with its columns in the
// wrong order, word is the key.
func parseScope(word string) (Scope, error) {
	for i, name := range scopeNames {
		if word == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("the second column is not a list of scopes: want %s or *", strings.Join(scopeNames[:], ","))
}
