// Package historytest holds engines of history.Store, history.Groups,
// history.Messages and watch.Events to their contracts.
//
// [Run] checks every sentence of the contract, one promise a subtest, and what
// happens when many callers meet. [StateMachine] drives an engine and the
// memory engine side by side with random operations and compares all that they
// answer and deliver. An engine's test is:
//
//	func TestConformance(t *testing.T)  { historytest.Run(t, open) }
//	func TestStateMachine(t *testing.T) { historytest.StateMachine(t, open) }
//
// where open returns a new, empty [Engine] on the clock that it is given. Both
// are worth running with the race detector, and StateMachine with
// -rapid.checks=1000 before a release.
package historytest
