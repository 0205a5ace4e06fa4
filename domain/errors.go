package domain

import (
	"errors"
	"time"
)

// Kind sorts errors by what a caller can do about them; an API maps it to a status.
type Kind int

const (
	KindInvalid     Kind = iota + 1 // the request is wrong: mend it
	KindNotFound                    // there is no such thing, or it is another tenant's
	KindConflict                    // the thing's state, or another writer, forbids it
	KindForbidden                   // the caller's role forbids it
	KindTooLarge                    // over a stated limit
	KindNoRoom                      // the disk is nearly full
	KindUnavailable                 // repeat the same request later
	KindErased                      // it was there; its key was destroyed
	KindLimited                     // over a rate: repeat the same request After
)

// Error is a refusal: a stable code, what is wrong, and how to mend it. It never quotes a secret.
type Error struct {
	Kind   Kind
	Code   string        // stable, snake_case
	Detail string        // what is wrong
	Fix    string        // what to do about it
	After  time.Duration // of KindLimited: when the same request may be taken
}

func (e *Error) Error() string {
	if e.Fix == "" {
		return e.Detail
	}
	return e.Detail + ": " + e.Fix
}

// Refuse makes an *Error.
func Refuse(kind Kind, code, detail, fix string) *Error {
	return &Error{Kind: kind, Code: code, Detail: detail, Fix: fix}
}

// Code gives the code of the *Error in err's chain, or "".
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
