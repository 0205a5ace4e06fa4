package agenfleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hookledger/domain"
	"hookledger/sources/pointer"
)

// Codes of polls that failed.
const (
	codeAuth       = "auth_failed"
	codeLimited    = "rate_limited"
	codeTimeout    = "timeout"
	codeStatus     = "http_status"
	codeRequest    = "request_failed"
	codeBlocked    = "blocked_address"
	codeNotJSON    = "not_json"
	codeShape      = "unexpected_shape"
	codeIncomplete = "incomplete_listing"
	codeLoop       = "page_loop"
	codeTooLarge   = "response_too_large"
	codeConfig     = "invalid_config"
	codeNoRoom     = "no_room" // the refusal of Config.Room
)

// pollError is why a poll failed. Its text may quote what was read, so it is sealed on the ledger and not logged; the
// code is for logs.
type pollError struct {
	code   string
	text   string
	status int           // of codeStatus
	after  time.Duration // what Retry-After asked for
}

func (e *pollError) Error() string { return e.text }

// noRoom is a refusal of Config.Room in its own words: what stands beside these names our disk and our hosts, and a
// poll's error is shown to the tenant.
func noRoom(err error) *pollError {
	var refusal *domain.Error
	if errors.As(err, &refusal) {
		return &pollError{code: refusal.Code, text: refusal.Error()}
	}
	return &pollError{code: codeNoRoom, text: "nothing is taken for now: the server's log says why"}
}

func failed(code, format string, args ...any) error {
	return &pollError{code: code, text: fmt.Sprintf(format, args...)}
}

// fields are where things stand in a row, by name.
type fields struct {
	pointers map[string]string
	statuses map[string]string
}

// defaultFields are AgenFleet's own names, as its documentation shows them.
var defaultFields = map[string]string{"id": "/id", "status": "/status", "tokensTodayInput": "/tokensTodayInput",
	"tokensTodayOutput": "/tokensTodayOutput", "dailyTokenBudget": "/config/limits/dailyTokenBudget",
	"monthlyTokenBudget": "/config/limits/monthlyTokenBudget", "alertThreshold": "/config/limits/alertThreshold",
	"costId": "/id", "actualCost": "/actualCost", "budget": "/budget", "token": "/token"}

func newFields(c *domain.SourceConfig) *fields {
	f := &fields{pointers: map[string]string{}, statuses: map[string]string{}}
	for name, p := range defaultFields {
		f.pointers[name] = p
	}
	for name, p := range c.Fields {
		f.pointers[name] = p
	}
	for _, s := range domain.SourceStatuses(domain.SourceAgenFleet) {
		f.statuses[s] = s
	}
	for theirs, ours := range c.Statuses {
		f.statuses[strings.ToLower(theirs)] = ours
	}
	return f
}

// row is one row of a listing, for errors that name it.
type row struct {
	*fields
	where string // "row 3 of GET /agents at offset 100"
	value pointer.Value
}

func (r *row) get(field string) (pointer.Value, bool) {
	v, ok := pointer.Get(r.value, r.pointers[field])
	return v, ok && v.Kind() != 'n'
}

// wrong is an error about a field. What stands there is quoted, cut short.
func (r *row) wrong(field, want string) error {
	at := r.pointers[field]
	got := "missing"
	if v, ok := pointer.Get(r.value, at); ok {
		got = short(string(v))
	}
	return failed(codeShape, "%s: %s is %s, not %s: if it stands elsewhere, say where with --field %s=/path/to/it",
		r.where, at, got, want, field)
}

func short(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// agent reads a row of the listing of agents. Limits are there where the row has any.
func (r *row) agent(readAt time.Time) (domain.AgentReading, error) {
	out := domain.AgentReading{ReadAt: readAt}
	v, ok := r.get("id")
	if out.ID = pointer.Text(v); !ok || out.ID == "" || len(out.ID) > 256 {
		return out, r.wrong("id", "a text of 1 to 256 bytes")
	}
	v, ok = r.get("status")
	status := pointer.Text(v)
	if out.Status = r.statuses[strings.ToLower(status)]; !ok || out.Status == "" {
		return out, failed(codeShape, "%s: %s is %s, not online, degraded or offline: say what it stands for with "+
			"--status THEIRS=offline, or where the status stands with --field status=/path/to/it", r.where,
			r.pointers["status"], short(string(v)))
	}
	var err error
	if out.Input, err = r.tokens("tokensTodayInput", true); err != nil {
		return out, err
	}
	if out.Output, err = r.tokens("tokensTodayOutput", true); err != nil {
		return out, err
	}
	out.Limits, err = r.limits()
	return out, err
}

// limits reads an agent's token budget; nil: the row has none.
func (r *row) limits() (*domain.AgentLimits, error) {
	var l domain.AgentLimits
	var err error
	if l.Daily, err = r.tokens("dailyTokenBudget", false); err != nil {
		return nil, err
	}
	if l.Monthly, err = r.tokens("monthlyTokenBudget", false); err != nil {
		return nil, err
	}
	if v, ok := r.get("alertThreshold"); ok {
		n, good := decimal(v)
		if !good || compare(n, "1") > 0 {
			return nil, r.wrong("alertThreshold", "a share from 0 to 1")
		}
		l.Threshold = n
	}
	if l == (domain.AgentLimits{}) {
		return nil, nil
	}
	return &l, nil
}

// tokens reads a whole number of tokens.
func (r *row) tokens(field string, needed bool) (uint64, error) {
	v, ok := r.get(field)
	if !ok {
		if _, there := pointer.Get(r.value, r.pointers[field]); needed && !there {
			return 0, r.wrong(field, "a whole number of tokens")
		}
		return 0, nil // null is none
	}
	n, err := strconv.ParseUint(string(v), 10, 53)
	if err != nil {
		return 0, r.wrong(field, "a whole number of tokens")
	}
	return n, nil
}

// cost reads a row of the cost analysis.
func (r *row) cost() (domain.CostReading, error) {
	var out domain.CostReading
	v, ok := r.get("costId")
	if out.ID = pointer.Text(v); !ok || out.ID == "" || len(out.ID) > 256 {
		return out, r.wrong("costId", "a text of 1 to 256 bytes")
	}
	v, _ = r.get("actualCost")
	if out.Cost, ok = decimal(v); !ok {
		return out, r.wrong("actualCost", "an amount of money")
	}
	if v, ok = r.get("budget"); ok {
		if out.Budget, ok = decimal(v); !ok {
			return out, r.wrong("budget", "an amount of money")
		}
	}
	return out, nil
}

// decimal reads a number that is not negative, exactly, and within bounds: exact decimals cost by their length.
func decimal(v pointer.Value) (json.Number, bool) {
	text := string(v)
	if v == nil || v.Kind() != '0' || len(text) > 40 || text[0] == '-' {
		return "", false
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		if exp, err := strconv.Atoi(text[i+1:]); err != nil || exp > 30 || exp < -30 {
			return "", false
		}
	}
	return json.Number(text), true
}

// parse checks an answer's body.
func parse(what string, body []byte) (pointer.Value, error) {
	trimmed := bytes.TrimSpace(body)
	switch {
	case len(trimmed) == 0:
		return nil, failed(codeNotJSON, "%s answered an empty body", what)
	case trimmed[0] == '<':
		return nil, failed(codeNotJSON, "%s answered HTML, not JSON: is the URL the API's base, such as "+
			"https://api.agenfleet.ai/api, and not the portal's?", what)
	}
	v, err := pointer.Check(trimmed)
	if err != nil {
		return nil, failed(codeNotJSON, "%s answered what is no whole JSON: %v", what, err)
	}
	if v.Kind() != '{' {
		return nil, failed(codeShape, "%s answered %s, not an object with rows", what, short(string(v)))
	}
	return v, nil
}

// page is one page of a listing.
type page struct {
	rows    []pointer.Value
	total   int
	hasMore bool
}

// parsePage reads {"data": […], "pagination": {"total", "limit", "offset", "hasMore"}}: it must be what was asked for.
func parsePage(what string, body []byte, offset, limit int) (*page, error) {
	v, err := parse(what, body)
	if err != nil {
		return nil, err
	}
	p := &page{}
	if p.rows, err = list(what, v, "/data"); err != nil {
		return nil, err
	}
	count := func(at string) (int, error) {
		n, ok := pointer.Get(v, at)
		i, err := strconv.ParseUint(string(n), 10, 31)
		if !ok || err != nil {
			return 0, failed(codeShape, "%s answered no whole number at %s: is this AgenFleet's API?", what, at)
		}
		return int(i), nil
	}
	if p.total, err = count("/pagination/total"); err != nil {
		return nil, err
	}
	got, err := count("/pagination/offset")
	if err != nil {
		return nil, err
	}
	more, ok := pointer.Get(v, "/pagination/hasMore")
	if !ok || more.Kind() != 't' && more.Kind() != 'f' {
		return nil, failed(codeShape, "%s answered neither true nor false at /pagination/hasMore", what)
	}
	p.hasMore = more.Kind() == 't'
	switch {
	case got != offset:
		return nil, failed(codeLoop, "%s answered the page at offset %d: its pages go in a circle", what, got)
	case len(p.rows) > limit:
		return nil, failed(codeShape, "%s answered %d rows, more than the %d that were asked for", what, len(p.rows), limit)
	case p.hasMore && len(p.rows) == 0:
		return nil, failed(codeLoop, "%s answered no rows and says that there are more", what)
	}
	return p, nil
}

func list(what string, v pointer.Value, at string) ([]pointer.Value, error) {
	a, ok := pointer.Get(v, at)
	if !ok || a.Kind() != '[' {
		return nil, failed(codeShape, "%s answered no list at %s: is this AgenFleet's API?", what, at)
	}
	var rows []pointer.Value
	pointer.Each(a, func(_ string, m pointer.Value) bool {
		rows = append(rows, m)
		return true
	})
	for i, r := range rows {
		if r.Kind() != '{' {
			return nil, failed(codeShape, "row %d of %s is %s, not an object", i+1, what, short(string(r)))
		}
	}
	return rows, nil
}
