package apiclient

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Problem is a refusal by the server, or the lack of an answer (Status 0).
type Problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"` // what is wrong
	Fix    string `json:"fix"`    // what to do about it
	Errors []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"errors"`
	RetrySeconds int `json:"retry_after"` // after which to repeat it; 0: the server did not say
	cause        error
}

// RetryAfter is how long the server asks to wait, 0 where it does not.
func (p *Problem) RetryAfter() time.Duration { return time.Duration(p.RetrySeconds) * time.Second }

// Later says that the server took nothing, or does not know, and can take it later: because of a rate, or for want of a
// ledger or of room.
func (p *Problem) Later() bool {
	return p != nil && (p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable ||
		p.Status == http.StatusInsufficientStorage)
}

// What is wrong, without what to do about it, which Detail ends with for programs that read nothing else.
func (p *Problem) What() string { return strings.TrimSuffix(p.Detail, ": "+p.Fix) }

func (p *Problem) Error() string {
	s := p.Detail
	for _, e := range p.Errors {
		if !strings.Contains(s, e.Message) {
			s += "\n  " + strings.TrimPrefix(e.Location+": "+e.Message, ": ")
		}
	}
	return s
}

// Unwrap gives what the network said.
func (p *Problem) Unwrap() error { return p.cause }

// StatusOf is the HTTP status of the *Problem in err's chain, or 0.
func StatusOf(err error) int {
	var p *Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

// CodeOf is the code of the *Problem in err's chain, or "".
func CodeOf(err error) string {
	var p *Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

func (c *Client) problem(resp *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	p := &Problem{}
	if err := json.Unmarshal(raw, p); err != nil || p.Detail == "" {
		return c.foreign(resp.StatusCode, err)
	}
	p.Status = resp.StatusCode
	p.Detail = p.What()
	if p.RetrySeconds == 0 { // a server from before retry_after says it in the header only
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			p.RetrySeconds = n
		}
	}
	switch {
	case p.Status == http.StatusUnauthorized && c.cfg.Key.Empty():
		p.Detail, p.Fix = "the server wants an API key, and none was found",
			"set HOOKLEDGER_API_KEY or HOOKLEDGER_API_KEY_FILE, or, on the server's machine, name its --data-dir"
	case p.Status == http.StatusUnauthorized:
		p.Fix = "check HOOKLEDGER_API_KEY (or HOOKLEDGER_API_KEY_FILE), or the admin.key of --data-dir"
	}
	return p
}
