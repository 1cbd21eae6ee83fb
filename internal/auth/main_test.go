package auth_test

import (
	"testing"

	"pushd.example/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
