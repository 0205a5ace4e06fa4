package delivery

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"hookledger/domain"
)

// peer is the receiver's side of an HTTP/2 connection, frame by frame.
type peer struct {
	*http2.Framer
	requests *atomic.Int64
}

// request reads until a request's headers came, and gives its stream.
func (p *peer) request() (stream uint32, ok bool) {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return 0, false
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			p.requests.Add(1)
			return f.StreamID, true
		case *http2.RSTStreamFrame:
			return 0, false // the sender has given up
		}
	}
}

// answer writes the headers of an answer.
func (p *peer) answer(stream uint32, end bool, fields ...string) error {
	return p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block(fields...), EndHeaders: true,
		EndStream: end})
}

func block(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// HTTP/2 gives a receiver more ways to play foul. In none of them is a request sent twice, as Go's own client would do
// with what was refused: that would be a request without an intent.
func TestHostileReceiversOfHTTP2(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert := ca.sign(t, leaf())
	one := func(codes ...domain.ErrorCode) []domain.ErrorCode { return codes }
	for _, tt := range []struct {
		name     string
		settings []http2.Setting
		serve    func(p *peer, stream uint32)
		codes    []domain.ErrorCode // one of them; none: it is an answer
	}{
		{"refuses the stream", nil, func(p *peer, s uint32) { _ = p.WriteRSTStream(s, http2.ErrCodeRefusedStream) },
			one(domain.CodeBadResponse)},
		{"resets the stream", nil, func(p *peer, s uint32) { _ = p.WriteRSTStream(s, http2.ErrCodeInternal) },
			one(domain.CodeBadResponse)},
		{"goes away before the request", nil, func(p *peer, _ uint32) { _ = p.WriteGoAway(0, http2.ErrCodeNo, nil) },
			one(domain.CodeBadResponse, domain.CodeTimeout)},
		{"goes away with an error", nil, func(p *peer, s uint32) {
			_ = p.WriteGoAway(s, http2.ErrCodeEnhanceYourCalm, []byte("no"))
		}, one(domain.CodeBadResponse, domain.CodeTimeout)},
		{"never answers", nil, func(*peer, uint32) {}, one(domain.CodeTimeout)},
		{"answers and never ends the body", nil, func(p *peer, s uint32) { _ = p.answer(s, false, ":status", "200") },
			one(domain.CodeTimeout)},
		{"answers without a status", nil, func(p *peer, s uint32) { _ = p.answer(s, true, "x", "y") },
			one(domain.CodeBadResponse)},
		{"headers without end", nil, func(p *peer, s uint32) {
			long := bytes.Repeat([]byte("x"), 1<<10)
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: block(":status", "200")})
			for i := 0; i < 1<<16; i++ {
				if p.WriteContinuation(s, false, block("x-filler", string(long))) != nil {
					return
				}
			}
		}, one(domain.CodeBadResponse)},
		{"headers larger than we say that we take", nil, func(p *peer, s uint32) {
			// Each after the first is a byte on the wire, and 90 here.
			fields := append([]string{":status", "200"}, slices.Repeat([]string{"x-filler", strings.Repeat("x", 50)}, 1000)...)
			_ = p.answer(s, true, fields...)
		}, one(domain.CodeResponseTooLarge)},
		{"hints without end", nil, func(p *peer, s uint32) {
			for i := 0; i < 1<<16; i++ {
				if p.answer(s, false, ":status", "103", "link", "</x>") != nil {
					return
				}
			}
		}, one(domain.CodeBadResponse)},
		{"more body than it is allowed to send", nil, func(p *peer, s uint32) {
			_ = p.answer(s, false, ":status", "200")
			for i := 0; i < 1<<16; i++ {
				if p.WriteData(s, false, make([]byte, 1<<14)) != nil {
					return
				}
			}
		}, nil},
		{"a body of another length than it says", nil, func(p *peer, s uint32) {
			_ = p.answer(s, false, ":status", "200", "content-length", "100")
			_ = p.WriteData(s, true, []byte("short"))
		}, one(domain.CodeBadResponse)},
		{"garbage in the place of a frame", nil, func(p *peer, _ uint32) {
			_ = p.WriteRawFrame(http2.FrameHeaders, 0xff, 0, bytes.Repeat([]byte{0xff}, 64))
		}, one(domain.CodeBadResponse)},
		{"answers", nil, func(p *peer, s uint32) { _ = p.answer(s, true, ":status", "204") }, nil},
		{"takes none of the body", []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, func(*peer, uint32) {},
			one(domain.CodeTimeout)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			recv := listenRaw(t, func(_ int, c net.Conn) {
				defer context.AfterFunc(ctx, func() { c.Close() })()
				s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"},
					MinVersion: tls.VersionTLS12})
				if _, err := io.ReadFull(s, make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				p := &peer{http2.NewFramer(s, s), &requests}
				if p.WriteSettings(tt.settings...) != nil {
					return
				}
				if stream, ok := p.request(); ok {
					tt.serve(p, stream)
					for ok {
						_, ok = p.request()
					}
				}
			})
			w := newWorld(t)
			w.trust(ca)
			f := w.meetAt("https://"+recv.Addr().String()+"/", slices.Contains(tt.codes, domain.CodeTimeout))
			switch {
			case len(tt.codes) == 0 && f != nil:
				t.Errorf("%+v: %s", f, f.Content.Ciphertext)
			case len(tt.codes) > 0 && (f == nil || !slices.Contains(tt.codes, f.Code) || f.Sent != domain.SentMaybe):
				t.Errorf("%+v, not %v: %s", f, tt.codes, f.Content.Ciphertext)
			}
			hangUp()
			recv.Close()
			recv.wg.Wait()
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests for one intent", n)
			}
		})
	}
}
