// Package engine is what the engines of history share and their callers do not
// need: arithmetic that must be the same in each of them.
//
//	ids.go       which id an append gets, and times in milliseconds
//	cursor.go    cursors that lie past the head of a log
//	delivered.go which ranges of an inbox were delivered
//	names.go     lists of names as bytes
//	check.go     what engines refuse
package engine
