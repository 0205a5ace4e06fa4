package domain

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Endpoint is folded from an endpoint's stream.
type Endpoint struct {
	ID             string
	Tenant         string
	Config         EndpointConfig
	ConfigRevision Revision  // of the record that holds Config
	ConfigRecord   ulid.ULID // its id: Config.Content is sealed for it
	ConfigType     string    // and its type
	Revision       Revision
	AsOf           ulid.ULID // the last record folded
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Disabled       bool
	DisabledReason string
	Removed        bool
	// Retiring are secrets in the vault that nothing uses any more, or from a time on. Never changed in place.
	Retiring []Retiring
}

// Exists says that the endpoint was registered and not removed.
func (e *Endpoint) Exists() bool { return e.ID != "" && !e.Removed }

// Clone gives a copy that can be evolved without changing e; configurations are shared, for they never change.
func (e *Endpoint) Clone() *Endpoint { c := *e; return &c }

// Evolve folds one record of the endpoint's stream.
func (e *Endpoint) Evolve(r *Record) {
	e.Revision, e.AsOf, e.UpdatedAt = r.Revision, r.ID, r.RecordedAt
	switch f := r.Fact.(type) {
	case *EndpointRegistered:
		e.ID, e.Tenant, e.CreatedAt = r.Stream.ID(), r.Tenant, r.RecordedAt
		e.configure(r, f.Config)
	case *EndpointReconfigured:
		e.replace(&f.Config, r)
		e.configure(r, f.Config)
	case *EndpointSecretRotated:
		e.rotated(f.Signing, r)
	case *EndpointSecretRetired:
		e.retired(f.Keys)
	case *EndpointDisabled:
		e.Disabled, e.DisabledReason = true, f.Reason
	case *EndpointEnabled:
		e.Disabled, e.DisabledReason = false, ""
	case *EndpointRemoved:
		e.Removed = true
		e.abandon(r)
	}
}

func (e *Endpoint) configure(r *Record, c EndpointConfig) {
	e.Config, e.ConfigRevision, e.ConfigRecord, e.ConfigType = c, r.Revision, r.ID, r.Fact.RecordType()
}

// ParseTarget takes an endpoint's URL apart: scheme, host (with its port), and path with query. It accepts http and
// https, no credentials and no fragment. Whether the address is one that may be dialled is decided at dial time.
func ParseTarget(raw string) (scheme, host, path string, err error) {
	refuse := func(detail, fix string) (string, string, string, error) {
		return "", "", "", Refuse(KindInvalid, "invalid_url", detail, fix)
	}
	u, perr := url.Parse(raw)
	switch {
	case perr != nil || len(raw) > 2048:
		return refuse("the endpoint's url is no URL of at most 2048 characters", "give one like https://example.com/hook")
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse("the endpoint's url is not http or https", "give one like https://example.com/hook")
	case u.User != nil:
		return refuse("the endpoint's url has credentials in it", "leave them out: they would stand in every log")
	case u.Hostname() == "":
		return refuse("the endpoint's url has no host", "give one like https://example.com/hook")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return refuse("the endpoint's url has a fragment, which is never sent", "leave out the part from # on")
	}
	if p := u.Port(); p != "" {
		if n, nerr := strconv.Atoi(p); nerr != nil || n < 1 || n > 65535 {
			return refuse("the endpoint's url has no valid port", "give a port from 1 to 65535, or none")
		}
	}
	return u.Scheme, u.Host, u.RequestURI(), nil
}

// check says what is wrong with a configuration.
func (c *EndpointConfig) check() error {
	invalid := func(code, detail, fix string) error { return Refuse(KindInvalid, code, detail, fix) }
	if len(c.EventTypes) == 0 {
		return invalid("no_event_types", "the endpoint subscribes to no event type",
			`give event_types, such as ["agent.*"], or ["*"] for all`)
	}
	if len(c.EventTypes) > 100 {
		return invalid("too_many_event_types", "the endpoint names more than 100 event types",
			`use patterns such as "agent.*"`)
	}
	if i := slices.IndexFunc(c.EventTypes, func(p string) bool { return !ValidPattern(p) }); i >= 0 {
		return invalid("invalid_event_type", "\""+c.EventTypes[i]+"\" is no event type or pattern",
			`use a type, a prefix with ".*", or "*"`)
	}
	if len(c.RetrySchedule) > MaxScheduleSteps {
		return invalid("invalid_retry_schedule", "the retry schedule has more than 50 steps", "shorten it")
	}
	for _, d := range c.RetrySchedule {
		if d < 0 || time.Duration(d) > MaxRetryWait {
			return invalid("invalid_retry_schedule", "a retry waits "+d.String(), "use waits from 0s to 168h")
		}
	}
	if t := time.Duration(c.Timeout); t < 100*time.Millisecond || t > MaxTimeout {
		return invalid("invalid_timeout", "the timeout is "+c.Timeout.String(), "use 100ms to 60s")
	}
	if !(c.RateLimit >= 0 && c.RateLimit <= 1e6) {
		return invalid("invalid_rate_limit", "the rate limit is out of range", "use 0 (none) to 1000000 a second")
	}
	if c.MaxInFlight < 0 || c.MaxInFlight > 10_000 {
		return invalid("invalid_max_in_flight", "max_in_flight is out of range", "use 0 (the server's default) to 10000")
	}
	if c.DisableAfter != nil && (*c.DisableAfter < 0 || time.Duration(*c.DisableAfter) > MaxDisableAfter) {
		return invalid("invalid_disable_after", "disable_after is out of range",
			"use a time up to 8760h, 0s for never, or leave it out for the server's default")
	}
	if err := c.checkOrder(); err != nil {
		return err
	}
	if err := c.checkSecrets(); err != nil {
		return err
	}
	if err := c.checkKind(); err != nil {
		return err
	}
	if err := c.checkChannel(); err != nil {
		return err
	}
	if len(c.Description) > 1024 || len(c.Metadata) > 50 {
		return invalid("too_much_description", "the description or the metadata is too long",
			"use at most 1024 characters and 50 entries")
	}
	for k, v := range c.Metadata {
		if k == "" || len(k) > 128 || len(v) > 512 {
			return invalid("too_much_description", "a metadata entry is too long or has no name",
				"use keys of 1 to 128 and values of at most 512 characters")
		}
	}
	return nil
}

// Register decides on a new endpoint.
func (e *Endpoint) Register(c EndpointConfig) ([]Fact, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if e.ID != "" {
		return nil, Refuse(KindConflict, "endpoint_exists", "the endpoint exists already", "repeat without an id")
	}
	return []Fact{&EndpointRegistered{Config: c}}, nil
}

// Reconfigure decides on a whole new configuration. expected, where it is not nil, is the revision that the caller saw.
func (e *Endpoint) Reconfigure(c EndpointConfig, expected *Revision) ([]Fact, error) {
	if err := e.ready(expected); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return []Fact{&EndpointReconfigured{Config: c}}, nil
}

// Disable decides to hold the endpoint's deliveries back.
func (e *Endpoint) Disable(reason string) ([]Fact, error) {
	if err := e.ready(nil); err != nil || e.Disabled {
		return nil, err
	}
	return []Fact{&EndpointDisabled{Reason: reason}}, nil
}

// Enable decides to let its deliveries go on.
func (e *Endpoint) Enable() ([]Fact, error) {
	if err := e.ready(nil); err != nil || !e.Disabled {
		return nil, err
	}
	return []Fact{&EndpointEnabled{}}, nil
}

// Remove decides on the endpoint's end.
func (e *Endpoint) Remove() ([]Fact, error) {
	if err := e.ready(nil); err != nil {
		return nil, err
	}
	return []Fact{&EndpointRemoved{}}, nil
}

func (e *Endpoint) ready(expected *Revision) error {
	if !e.Exists() {
		return Refuse(KindNotFound, "endpoint_not_found", "there is no such endpoint",
			"list them with: hookledger endpoint list")
	}
	return atRevision(expected, e.Revision, "endpoint")
}

// atRevision refuses a change that was based on another revision than the one that is there; nil is based on any.
func atRevision(expected *Revision, at Revision, what string) error {
	if expected == nil || *expected == at {
		return nil
	}
	return Refuse(KindConflict, "revision_conflict", "the "+what+" was changed meanwhile: it is at revision "+
		strconv.FormatInt(int64(at), 10), "read it again, and repeat with its revision in If-Match")
}

// Target is the endpoint's whole URL, given its opened content.
func (c *EndpointConfig) Target(content EndpointContent) string {
	return c.Scheme + "://" + c.Host + content.Path
}
