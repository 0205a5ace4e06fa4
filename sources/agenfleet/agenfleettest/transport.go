package agenfleettest

import (
	"bytes"
	"io"
	"net/http"
)

// Transport asks the server without a network: for tests whose time is not the machine's.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ server *Server }

// RoundTrip is safe for concurrent use.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	rec := &recorder{header: http.Header{}, status: http.StatusOK}
	in := r.Clone(r.Context())
	in.RemoteAddr = "192.0.2.1:4711"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	t.server.ServeHTTP(rec, in)
	if rec.err != nil {
		return nil, rec.err
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: rec.status, Status: http.StatusText(rec.status), Proto: "HTTP/1.1", ProtoMajor: 1,
		ProtoMinor: 1, Header: rec.header, Body: io.NopCloser(&rec.body), ContentLength: int64(rec.body.Len()),
		Request: r}, nil
}

// recorder is an answer that is not sent.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	err    error
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// Break makes the answer one that did not come, for faults: the request fails with err.
func Break(w http.ResponseWriter, err error) {
	if r, ok := w.(*recorder); ok {
		r.err = err
		return
	}
	panic(http.ErrAbortHandler)
}
