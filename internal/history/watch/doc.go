// Package watch is what happened to users, for those who watch: [Events] is the
// contract, which the engines of history implement.
package watch
