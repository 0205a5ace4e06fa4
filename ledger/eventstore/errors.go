package eventstore

import (
	"errors"
	"io"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fate is what a call's error says about the call and about its connection.
type fate int

const (
	done        fate = iota // no error
	conflict                // the expected revision is wrong; nothing was written
	notLeader               // nothing was done; the client turns to the leader by itself
	unsent                  // the request never left as a whole; nothing was done, and the connection is of no use
	unknown                 // the request may have been carried out
	unreachable             // as unknown, and the connection is of no use
	unanswered              // as unreachable: the call's time ran out
	forbidden               // the user may not; nothing was done
	anonymous               // the user or password is wrong; nothing was done
	tooLarge                // over the server's limit; nothing was written
	deleted                 // the stream was deleted for ever
	absent                  // there is no such stream
	noPosition              // the position is no event's
)

// fateOf sorts an error of the client. Its own codes come first, then those of gRPC, then, where both say "unknown",
// the text: the client is pinned to one version, and a test holds what it says.
func fateOf(err error) fate {
	if err == nil {
		return done
	}
	if errors.Is(err, errUnanswered) || errors.Is(err, errLagging) {
		return unanswered
	}
	var e *esdb.Error
	if !errors.As(err, &e) {
		return fateOfCode(err)
	}
	switch e.Code() {
	case esdb.ErrorCodeWrongExpectedVersion:
		return conflict
	case esdb.ErrorCodeNotLeader:
		return notLeader
	case esdb.ErrorCodeStreamDeleted:
		return deleted
	case esdb.ErrorCodeResourceNotFound:
		return absent
	case esdb.ErrorCodeAccessDenied:
		return forbidden
	case esdb.ErrorCodeUnauthenticated:
		return anonymous
	case esdb.ErrorCodeConnectionClosed:
		return unsent
	}
	if beforeSending(err) {
		return unsent
	}
	return fateOfCode(e.Err())
}

// beforeSending says whether an append failed before its last event had left: the server writes nothing before it has
// the whole request.
func beforeSending(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "could not construct append operation") ||
		strings.HasPrefix(text, "could not send append request")
}

func fateOfCode(err error) fate {
	if err == nil {
		return unknown
	}
	if errors.Is(err, io.EOF) {
		return unreachable
	}
	s, _ := status.FromError(err)
	switch s.Code() {
	case codes.Unavailable:
		return unreachable
	case codes.DeadlineExceeded:
		return unanswered
	case codes.PermissionDenied:
		return forbidden
	case codes.Unauthenticated:
		return anonymous
	case codes.InvalidArgument, codes.ResourceExhausted:
		if strings.Contains(s.Message(), "Append Size") || s.Code() == codes.ResourceExhausted {
			return tooLarge
		}
	case codes.Unknown:
		if strings.Contains(s.Message(), "Unexpected ReadAllResult") {
			return noPosition
		}
	}
	return unknown
}

// broken says whether the call's connection should be made anew.
func (f fate) broken() bool { return f == unsent || f == unreachable || f == unanswered }

// wrote says whether an append that ended so may have been written.
func (f fate) wrote() bool { return f == unknown || f == unreachable || f == unanswered }

// reason is the server's own words, or gRPC's, without the client's around them. They hold no secret: credentials
// travel beside a request, and no answer quotes them.
func reason(err error) string {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Message()
	}
	var e *esdb.Error
	if errors.As(err, &e) && e.Err() != nil {
		return e.Err().Error()
	}
	return err.Error()
}
