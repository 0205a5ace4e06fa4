package esdbtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Error is a call's answer that is a failure: a gRPC status, and trailers by which the client knows what happened.
type Error struct {
	Code     codes.Code
	Message  string
	Trailers metadata.MD
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Message) }

// GRPCStatus is what goes over the wire, beside the trailers.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// failure makes an Error; the trailers are pairs of a key and a value.
func failure(code codes.Code, message string, trailers ...string) *Error {
	return &Error{Code: code, Message: message, Trailers: metadata.Pairs(trailers...)}
}

// errHandler is what a real node says of whatever its code did not expect.
func errHandler() *Error { return failure(codes.Unknown, "Exception was thrown by handler.") }

func errStreamDeleted(name string) *Error {
	return failure(codes.FailedPrecondition, fmt.Sprintf("Event stream '%s' is deleted.", name),
		"exception", "stream-deleted", "stream-name", name)
}

func errMissingMetadata(key string) *Error {
	return failure(codes.InvalidArgument, fmt.Sprintf("Required Metadata Property '%s' is missing", key),
		"exception", "missing-required-metadata-property", "required-metadata-properties", "type,content-type")
}

func errAppendSize() *Error {
	limit := strconv.Itoa(maxAppend)
	return failure(codes.InvalidArgument, "Maximum Append Size of "+limit+" Exceeded.",
		"exception", "maximum-append-size-exceeded", "maximum-append-size", limit)
}

func errWrongExpected(name string, expected, actual int64) *Error {
	return failure(codes.FailedPrecondition,
		fmt.Sprintf("Delete failed due to WrongExpectedVersion. Stream: %s, Expected version: %d, Actual version: %d",
			name, expected, actual),
		"exception", "wrong-expected-version", "stream-name", name,
		"expected-version", strconv.FormatInt(expected, 10), "actual-version", strconv.FormatInt(actual, 10))
}

// errTooSlow ends a subscription whose client does not keep up.
func errTooSlow() *Error {
	return failure(codes.Aborted,
		"Operation timed out: Consumer too slow to handle event while live. Client resubscription required.")
}

// errRead is a read that the real node's reader gives up on.
func errRead(result string) *Error { return failure(codes.Unknown, "Unexpected "+result+": Error") }

// trailUnary and trailStream send the trailers of an Error.
func trailUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	resp, err := handle(ctx, req)
	var e *Error
	if errors.As(err, &e) && len(e.Trailers) > 0 {
		if serr := grpc.SetTrailer(ctx, e.Trailers); serr != nil {
			return nil, serr
		}
	}
	return resp, err
}

func trailStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	err := handle(srv, stream)
	var e *Error
	if errors.As(err, &e) && len(e.Trailers) > 0 {
		stream.SetTrailer(e.Trailers)
	}
	return err
}
