package redistest

import (
	"errors"
	"fmt"
	"time"
)

// permanent is an error that trying again does not mend.
type permanent struct{ error }

// await calls try until it returns nil, for at most patience. There is nothing
// to wait on but the server's answers.
func await(what string, try func() error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := try()
		if err == nil {
			return nil
		}
		if errors.As(err, &permanent{}) || time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
}
