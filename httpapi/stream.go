package httpapi

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// streamWriter writes a long answer. Each flush has a deadline, so that a client that does not read holds no memory and
// no goroutine for ever.
type streamWriter struct {
	w      http.ResponseWriter
	may    func() error // is asked before anything goes out: why nothing more may
	rc     *http.ResponseController
	buf    []byte
	line   []byte // for the caller to build lines in
	begun  bool   // the header was sent: no other status can be answered any more
	broken bool   // the client is gone
}

// writeWithin is how long a client may take for what is written at once.
const writeWithin = 30 * time.Second

func newStreamWriter(w http.ResponseWriter, may func() error) *streamWriter {
	return &streamWriter{w: w, may: may, rc: http.NewResponseController(w), buf: make([]byte, 0, 64<<10)}
}

// begin says what the answer is; it is sent with the first flush.
func (s *streamWriter) begin(contentType string) {
	h := s.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies pass each line on at once
}

func (s *streamWriter) write(b []byte) error {
	s.buf = append(s.buf, b...)
	if len(s.buf) < 32<<10 {
		return nil
	}
	return s.flush()
}

// comment writes a line that a reader of server-sent events ignores.
func (s *streamWriter) comment(text string) error {
	if err := s.write([]byte(": " + text + "\n\n")); err != nil {
		return err
	}
	return s.flush()
}

// close ends a live stream with a comment that says why, though nothing else may go out any more.
func (s *streamWriter) close(why string) error {
	s.buf = append(s.buf[:0], ": "+why+"\n\n"...)
	err := s.send()
	_ = s.rc.SetWriteDeadline(time.Time{})
	return err
}

// end writes what is left, and takes the deadline away: the connection may serve another request.
func (s *streamWriter) end() error {
	err := s.flush()
	_ = s.rc.SetWriteDeadline(time.Time{})
	return err
}

func (s *streamWriter) flush() error {
	if err := s.may(); err != nil {
		s.buf = s.buf[:0]
		return err
	}
	return s.send()
}

func (s *streamWriter) send() error {
	// A writer that knows no deadlines is a test's, or a server's own: it has its own way to end a slow client.
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeWithin))
	if !s.begun {
		s.begun = true
		s.w.WriteHeader(http.StatusOK)
	}
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		s.broken = true
	}
	return err
}

// streams are the routes that answer for as long as their reader likes; a test holds the document against it.
var streams = []string{"list-records", "feed-events"}

// IsStream says whether a path's answers may go on for as long as their reader likes: an orderly end does not wait for
// them, and their readers resume.
func IsStream(path string) bool { return slices.Contains(streamPaths(), path) }

// streamPaths is asked at each request.
var streamPaths = sync.OnceValue(func() []string {
	var paths []string
	for _, id := range streams {
		paths = append(paths, routeOf(id).path)
	}
	return paths
})
