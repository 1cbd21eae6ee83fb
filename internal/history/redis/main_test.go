package redis_test

import (
	"testing"

	"pushd.example/internal/redistest"
	"pushd.example/internal/testkit"
)

// shared is a server that tests share which do it no harm.
var shared *redistest.Server

func TestMain(m *testing.M) {
	testkit.MainWith(m, func(dir string) (cleanup func(), err error) {
		if shared, err = redistest.Launch(dir, redistest.Options{}); err != nil {
			return nil, err
		}
		return shared.Close, nil
	})
}
