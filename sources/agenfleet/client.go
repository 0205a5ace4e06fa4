package agenfleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"hookledger/domain"
	"hookledger/sources/pointer"
)

const (
	pageSize       = 100 // the most that AgenFleet gives
	maxPages       = 200
	maxAnswer      = 8 << 20 // bytes
	requestTimeout = 20 * time.Second
	// loginEvery is how far failed logins stand apart: AgenFleet takes 10 in 15 minutes from an address.
	loginEvery    = 3 * time.Minute
	maxRetryAfter = time.Hour
)

// Credentials are what an API is asked with; they stand in the vault as JSON.
type Credentials struct {
	Email    string `json:"email,omitempty"`
	Password string `json:"password,omitempty"`
	Key      string `json:"key,omitempty"`
}

// Secret is the form in which the vault keeps them.
func (c *Credentials) Secret() domain.Secret {
	raw, _ := json.Marshal(c) // texts only
	return domain.NewSecret(string(raw))
}

// client asks one API. It is not safe for concurrent use.
type client struct {
	base      *url.URL
	transport http.RoundTripper
	limit     *rate.Limiter // shared by all who ask the same host
	now       func() time.Time
	fields    *fields
	auth      string
	secret    Credentials

	token      string
	loginAfter time.Time // a login failed: none before
	loginError error
}

func newClient(c *domain.SourceConfig, secret domain.Secret, transport http.RoundTripper, limit *rate.Limiter,
	now func() time.Time) (*client, error) {
	base, err := url.Parse(strings.TrimSuffix(c.Poll.URL, "/"))
	if err != nil {
		return nil, fmt.Errorf("the source's url: %w", err)
	}
	out := &client{base: base, transport: transport, limit: limit, now: now, fields: newFields(c), auth: c.Poll.Auth}
	if err := json.Unmarshal([]byte(secret.Reveal()), &out.secret); err != nil {
		return nil, errors.New("the source's credentials can't be read: set them again")
	}
	return out, nil
}

// newLimiter keeps to n requests in any 60 seconds, of which a seventh at once.
func newLimiter(n int) *rate.Limiter {
	burst := max(1, n/7)
	return rate.NewLimiter(rate.Limit(float64(max(1, n-burst))/60), burst)
}

// agents reads all pages. A listing that changes while it is read is read once more.
func (c *client) agents(ctx context.Context) ([]domain.AgentReading, error) {
	out, err := c.listing(ctx)
	var bad *pollError
	if errors.As(err, &bad) && bad.code == codeIncomplete {
		return c.listing(ctx)
	}
	return out, err
}

func (c *client) listing(ctx context.Context) ([]domain.AgentReading, error) {
	readAt := c.now().UTC()
	var out []domain.AgentReading
	seen := map[string]bool{}
	for n := 0; ; n++ {
		what := fmt.Sprintf("GET /agents at offset %d", len(out))
		if n == maxPages {
			return nil, failed(codeLoop, "%s would be page %d: its pages have no end", what, n+1)
		}
		query := url.Values{"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(len(out))}}
		body, err := c.get(ctx, what, "/agents", query)
		if err != nil {
			return nil, err
		}
		p, err := parsePage(what, body, len(out), pageSize)
		if err != nil {
			return nil, err
		}
		for i, v := range p.rows {
			r := row{c.fields, fmt.Sprintf("row %d of %s", i+1, what), v}
			a, err := r.agent(readAt)
			if err != nil {
				return nil, err
			}
			if seen[a.ID] {
				return nil, failed(codeIncomplete, "%s has an agent that an earlier row had: the listing changed while it was read",
					r.where)
			}
			seen[a.ID] = true
			out = append(out, a)
		}
		if p.hasMore {
			continue
		}
		if len(out) != p.total {
			return nil, failed(codeIncomplete, "GET /agents gave %d rows and says that there are %d: a page is missing, or the "+
				"listing changed while it was read", len(out), p.total)
		}
		return out, nil
	}
}

// limits reads one agent's budgets; nil: it has none, or is not there any more.
func (c *client) limits(ctx context.Context, id string) (*domain.AgentLimits, error) {
	const what = "GET /agents/ID"
	body, err := c.get(ctx, what, "/agents/"+url.PathEscape(id), nil)
	var bad *pollError
	if errors.As(err, &bad) && bad.status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := parse(what, body)
	if err != nil {
		return nil, err
	}
	if inner, ok := pointer.Get(v, "/data"); ok && inner.Kind() == '{' {
		v = inner
	}
	return (&row{c.fields, what, v}).limits()
}

// costs reads what each agent cost.
func (c *client) costs(ctx context.Context) ([]domain.CostReading, error) {
	const what = "GET /cost-analysis/agents"
	body, err := c.get(ctx, what, "/cost-analysis/agents", nil)
	if err != nil {
		return nil, err
	}
	v, err := parse(what, body)
	if err != nil {
		return nil, err
	}
	rows, err := list(what, v, "/agents")
	if err != nil {
		return nil, err
	}
	var out []domain.CostReading
	seen := map[string]bool{}
	for i, v := range rows {
		r := row{c.fields, fmt.Sprintf("row %d of %s", i+1, what), v}
		one, err := r.cost()
		if err != nil {
			return nil, err
		}
		if seen[one.ID] {
			return nil, failed(codeShape, "%s is a second one of its agent", r.where)
		}
		seen[one.ID] = true
		out = append(out, one)
	}
	return out, nil
}

// get asks, and once more with a new token where the old one is not taken any more.
func (c *client) get(ctx context.Context, what, path string, query url.Values) ([]byte, error) {
	fresh := c.token == ""
	if err := c.login(ctx); err != nil {
		return nil, err
	}
	status, body, err := c.do(ctx, what, http.MethodGet, path, query, nil)
	if err == nil && status == http.StatusUnauthorized && !fresh && c.auth == domain.AuthLogin {
		c.token = ""
		if err := c.login(ctx); err != nil {
			return nil, err
		}
		status, body, err = c.do(ctx, what, http.MethodGet, path, query, nil)
	}
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		c.token = ""
		return nil, failed(codeAuth, "%s answered %d%s: give the source credentials that may read agents and costs", what,
			status, complaint(body))
	case status != http.StatusOK:
		return nil, &pollError{code: codeStatus, status: status,
			text: fmt.Sprintf("%s answered %d%s", what, status, complaint(body))}
	}
	return body, nil
}

// login gets a token, where that is how we are known and there is none.
func (c *client) login(ctx context.Context) error {
	if c.auth != domain.AuthLogin {
		c.token = c.secret.Key
		return nil
	}
	if c.token != "" {
		return nil
	}
	if c.loginError != nil && c.now().Before(c.loginAfter) {
		return c.loginError
	}
	const what = "POST /auth/login"
	body, err := json.Marshal(map[string]string{"email": c.secret.Email, "password": c.secret.Password})
	if err != nil {
		return err
	}
	status, answer, err := c.do(ctx, what, http.MethodPost, "/auth/login", nil, body)
	if err == nil && status != http.StatusOK && status != http.StatusCreated {
		err = failed(codeAuth, "%s answered %d: give the source an email and a password that can log in", what, status)
	}
	if err == nil {
		c.token, err = c.tokenOf(what, answer)
	}
	c.loginError, c.loginAfter = err, c.now().Add(loginEvery)
	return err
}

// tokenOf finds the token; what is answered is never quoted.
func (c *client) tokenOf(what string, answer []byte) (string, error) {
	v, err := parse(what, answer)
	if err != nil {
		return "", err
	}
	t, _ := pointer.Get(v, c.fields.pointers["token"])
	if token := pointer.Text(t); token != "" && len(token) <= 16<<10 && !strings.ContainsAny(token, "\r\n\x00 ") {
		return token, nil
	}
	return "", failed(codeShape, "%s answered no token at %s: say where it stands with --field token=/path/to/it", what,
		c.fields.pointers["token"])
}

// do sends one request under the limit and reads its answer. Redirects are not followed.
func (c *client) do(ctx context.Context, what, method, path string, query url.Values,
	body []byte) (int, []byte, error) {
	if err := c.limit.Wait(ctx); err != nil {
		return 0, nil, failed(codeTimeout, "%s: the poll's time was over before its turn under the rate limit: poll less "+
			"often, or raise rate_limit", what)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	target := c.base.String() + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, failed(codeRequest, "%s: the source's url can't be asked", what)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "hookledger")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	} else {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return 0, nil, transportError(what, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, transportError(what, err)
	case len(answer) > maxAnswer:
		return 0, nil, failed(codeTooLarge, "%s answered more than %d bytes", what, maxAnswer)
	case resp.StatusCode == http.StatusTooManyRequests:
		after := retryAfter(resp.Header.Get("Retry-After"), c.now())
		return 0, nil, &pollError{code: codeLimited, after: after, text: fmt.Sprintf(
			"%s answered 429, too many requests: it is asked again after %s; lower rate_limit, or poll less often", what,
			max(after, time.Minute))}
	}
	return resp.StatusCode, answer, nil
}

// transportError says why there is no answer. The text of an error of the network names addresses, never a header.
func transportError(what string, err error) error {
	var refusal *domain.Error
	switch {
	case errors.As(err, &refusal):
		return failed(codeBlocked, "%s: %v", what, refusal)
	case errors.Is(err, context.DeadlineExceeded):
		return failed(codeTimeout, "%s was not answered whole in time", what)
	}
	return failed(codeRequest, "%s: %v", what, err)
}

// complaint is what an error's body says: {"error": "…"}, or {"error": {"message": "…"}} of the older API.
func complaint(body []byte) string {
	v, err := pointer.Check(body)
	if err != nil {
		return ""
	}
	for _, at := range []string{"/error", "/error/message"} {
		m, _ := pointer.Get(v, at)
		if text := pointer.Text(m); text != "" {
			return " (" + short(text) + ")"
		}
	}
	return ""
}

// retryAfter reads both forms of RFC 9110, 10.2.3.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
