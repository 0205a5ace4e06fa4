package delivery

import (
	"errors"
	"fmt"
	"runtime/debug"
)

var errPanic = errors.New("panic")

// panicked is a panic as an error. What it says is recorded, and so read by tenants: what went wrong and where is for
// the log alone, see forLog.
type panicked struct {
	value any
	stack []byte
}

func newPanicked(value any) error { return &panicked{value, debug.Stack()} }

func (*panicked) Error() string {
	return "panic: a fault of hookledger itself; whoever runs this server finds it in the server's log"
}

func (*panicked) Is(target error) bool { return target == errPanic }

// caught turns a panic into an error.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = newPanicked(p)
	}
}

// forLog is what the log says of an error: of a panic its value and where it was.
func forLog(err error) string {
	if p := (*panicked)(nil); errors.As(err, &p) {
		return fmt.Sprintf("%v: %v at %s", err, p.value, p.stack)
	}
	return err.Error()
}
