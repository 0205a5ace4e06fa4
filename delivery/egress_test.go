package delivery

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"hookledger/domain"
)

// TestTheTransportOfSourcesStandsBehindTheGuard: an address that is not public is never connected to, and neither is
// what a name or a redirect leads to.
func TestTheTransportOfSourcesStandsBehindTheGuard(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/again", http.StatusFound)
	}))
	defer inside.Close()
	get := func(cfg EgressConfig, url string) (*http.Response, error) {
		transport := NewTransport(cfg, nil)
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		return transport.RoundTrip(req)
	}
	for _, url := range []string{inside.URL, strings.Replace(inside.URL, "127.0.0.1", "localhost", 1)} {
		resp, err := get(EgressConfig{}, url)
		if err == nil {
			resp.Body.Close()
		}
		var refusal *domain.Error
		var lost *nameError
		if url == inside.URL && (!errors.As(err, &refusal) || refusal.Code != string(domain.CodeBlocked) ||
			!strings.Contains(refusal.Fix, "--allow-cidr")) || url != inside.URL && !errors.As(err, &lost) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Fatalf("it was asked %d times", n)
	}
	resp, err := get(EgressConfig{Dev: true}, inside.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound || asked.Load() != 1 {
		t.Errorf("status %d, asked %d times", resp.StatusCode, asked.Load())
	}
}
