// Package watch has the contract of events: what happened to users, for readers
// who watch it. The engines of history implement [Events].
package watch
