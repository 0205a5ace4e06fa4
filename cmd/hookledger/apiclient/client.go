package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"hookledger/domain"
)

// TenantHeader names the tenant that a platform key acts for.
const TenantHeader = "Hookledger-Tenant"

// maxAnswer bounds what is read of an answer that is not a stream; a page of 250 events of 512 KiB is within it.
const maxAnswer = 256 << 20

// Config says which server, and as whom.
type Config struct {
	Server    string        // base URL
	Key       domain.Secret // empty: none is sent
	Tenant    string        // empty: the key's own
	Fallback  string        // the tenant that a platform key acts for where Tenant is empty
	UserAgent string
	Timeout   time.Duration     // of a request that is not a stream; 0: 60 s
	Transport http.RoundTripper // nil: a transport of its own
}

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	base    *url.URL
	cfg     Config
	http    *http.Client
	timeout time.Duration
	tenant  atomic.Pointer[string] // named with each request
}

// New checks the server's URL.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(cfg.Server, "/"))
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" || base.User != nil {
		return nil, domain.Refuse(domain.KindInvalid, "invalid_server", "the server's URL is not valid",
			"give one like http://127.0.0.1:8420 with --server or HOOKLEDGER_SERVER")
	}
	transport := cfg.Transport
	if transport == nil {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 16,
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	}
	timeout := cfg.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	c := &Client{base: base, cfg: cfg, timeout: timeout, http: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	c.tenant.Store(&cfg.Tenant)
	return c, nil
}

// Server is the base URL.
func (c *Client) Server() string { return c.base.String() }

// Option adds to a request.
type Option func(*http.Request)

// WithHeader sets a header where the value is not empty.
func WithHeader(name, value string) Option {
	return func(r *http.Request) {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
}

// Get fetches path, which stands in the base URL's, and decodes the answer into out.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.call(ctx, http.MethodGet, path, nil, out)
}

// Post sends body as JSON, nil for none, and decodes the answer into out where that is not nil.
func (c *Client) Post(ctx context.Context, path string, body, out any, opts ...Option) error {
	return c.send(ctx, http.MethodPost, path, body, out, opts...)
}

// Patch sends a merge patch.
func (c *Client) Patch(ctx context.Context, path string, body, out any, opts ...Option) error {
	return c.send(ctx, http.MethodPatch, path, body, out, append([]Option{
		WithHeader("Content-Type", "application/merge-patch+json")}, opts...)...)
}

// Delete removes what path names.
func (c *Client) Delete(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodDelete, path, nil, out)
}

// PostRaw sends bytes as they are.
func (c *Client) PostRaw(ctx context.Context, path, contentType string, body []byte, out any, opts ...Option) error {
	return c.call(ctx, http.MethodPost, path, body, out, append([]Option{WithHeader("Content-Type", contentType)},
		opts...)...)
}

func (c *Client) send(ctx context.Context, method, path string, body, out any, opts ...Option) error {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
	}
	return c.call(ctx, method, path, raw, out, opts...)
}

func (c *Client) call(ctx context.Context, method, path string, body []byte, out any, opts ...Option) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.do(ctx, method, path, body, opts...)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(fmt.Errorf("read the answer: %w", err))
	}
	if out == nil || len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return c.foreign(resp.StatusCode, err)
	}
	return nil
}

// do sends a request and returns its answer if that is a 2xx, else the *Problem that it is. The caller closes the body.
// A platform key without a tenant is told so before anything is done; the request is then repeated with Fallback.
func (c *Client) do(ctx context.Context, method, path string, body []byte, opts ...Option) (*http.Response, error) {
	resp, err := c.once(ctx, method, path, body, opts...)
	if CodeOf(err) == "tenant_required" && c.cfg.Fallback != "" && *c.tenant.Load() == "" {
		c.tenant.Store(&c.cfg.Fallback)
		return c.once(ctx, method, path, body, opts...)
	}
	return resp, err
}

func (c *Client) once(ctx context.Context, method, path string, body []byte, opts ...Option) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, reader)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	// Without GetBody the transport never repeats a request by itself.
	req.GetBody = nil
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if c.cfg.UserAgent != "" {
		req.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	if !c.cfg.Key.Empty() {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Key.Reveal())
	}
	if tenant := *c.tenant.Load(); tenant != "" {
		req.Header.Set(TenantHeader, tenant)
	}
	for _, o := range opts {
		o(req)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.problem(resp)
}

// unreachable names what to do about a server that does not answer.
func (c *Client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var uerr *url.Error
	if errors.As(err, &uerr) {
		err = uerr.Err
	}
	var dns *net.DNSError
	var detail, fix string
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		detail, fix = "there is no server at "+c.Server(),
			"start one with: hookledger serve (or name another with --server or HOOKLEDGER_SERVER)"
	case errors.As(err, &dns):
		detail, fix = "the host of "+c.Server()+" is not known", "check --server or HOOKLEDGER_SERVER"
	case errors.Is(err, context.DeadlineExceeded):
		detail, fix = c.Server()+" did not answer in time", "see how it is with: hookledger status"
	default:
		detail, fix = "no answer from "+c.Server()+": "+err.Error(), "see how it is with: hookledger status"
	}
	return &Problem{Code: "unreachable", Detail: detail, Fix: fix, cause: err}
}

// foreign is an answer that no hookledger gives.
func (c *Client) foreign(status int, err error) error {
	return &Problem{Status: status, Code: "not_hookledger", cause: err,
		Detail: fmt.Sprintf("what answers at %s (status %d) does not speak this API", c.Server(), status),
		Fix:    "check --server or HOOKLEDGER_SERVER, and that it and this binary have the same version"}
}
