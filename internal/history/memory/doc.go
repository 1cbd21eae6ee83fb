// Package memory is the naive engine of history.Store, history.Groups and
// history.Messages: all histories in slices, searched from end to end under one
// mutex. Nothing is ever trimmed; retention and TTLs only decide what is shown. It
// is slow and grows for ever, so that a reader can see that it is right: tests
// compare the other engines with it.
//
//	store.go      the state and the methods of Store
//	log.go        one log: its head, what it shows, what it dropped
//	groups.go     who is in which group
//	messages.go   receipts and recalls
//	page.go       the two logs of a user merged, and pages cut from them
//	delivered.go  what was delivered
//	unacked.go    pushes that were not acked in time
package memory
