// Package redistest starts real Redis servers for tests, and breaks them.
//
//	s := redistest.Start(t, redistest.Options{AOF: true})
//	open(s.URL())  // redis://127.0.0.1:20417/0
//	s.Kill()       // kill -9
//	s.Restart()    // same port, same data
//
// [Start] gives one server, [StartSentinel] a master with a replica and three
// Sentinels, [StartCluster] three masters with three replicas. [NewProxy] stands
// between a client and a server and loses bytes on command. A package whose tests
// can use one server starts it with [Launch] in TestMain.
//
// Servers listen on 127.0.0.1 below port 32768, keep their data in a directory
// of the test's, and end with the test: also when it panics, and when the test
// process is killed, since the kernel kills them then. PUSHD_TEST_REDIS names
// the program to run, such as valkey-server; default redis-server. If it is not
// installed the test fails, since a skipped test shows nothing.
package redistest
