// Package testkit holds what tests all over the repository need: waiting for a
// condition, looking for leaks when a package's tests have ended, running a
// process, and a free port.
//
// Only tests import it. It depends on no other package of this module, so that
// every package's tests can use it. Redis servers for tests are in
// internal/redistest.
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
//
//	func TestConnects(t *testing.T) {
//		p := testkit.Start(t, exec.Command("pushd", "-dev"))
//		testkit.WaitFor(t, "the first line", func() bool { return p.Output.Len() > 0 })
//		testkit.Must(t, p.Stop())
//	}
package testkit
