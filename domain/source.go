package domain

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Limits and defaults of sources.
const (
	MaxSources = 1000 // a tenant

	DefaultPollEvery  = time.Minute
	MinPollEvery      = 10 * time.Second
	MaxPollEvery      = 24 * time.Hour
	DefaultRateLimit  = 50 // requests a minute; AgenFleet takes 60 from an address
	DefaultCronWindow = 45 * time.Second
	MaxCronWindow     = time.Hour
)

// Source is folded from a source's stream.
type Source struct {
	ID           string
	Tenant       string
	Config       SourceConfig
	ConfigRecord ulid.ULID // that holds Config
	Revision     Revision
	CreatedAt    time.Time
	UpdatedAt    time.Time
	Removed      bool
}

// Exists says that the source was added and not removed.
func (s *Source) Exists() bool { return s.ID != "" && !s.Removed }

// Evolve folds one record of the source's stream.
func (s *Source) Evolve(r *Record) {
	s.Revision, s.UpdatedAt = r.Revision, r.RecordedAt
	switch f := r.Fact.(type) {
	case *SourceAdded:
		s.ID, s.Tenant, s.CreatedAt = r.Stream.ID(), r.Tenant, r.RecordedAt
		s.Config, s.ConfigRecord = f.Config, r.ID
	case *SourceChanged:
		s.Config, s.ConfigRecord = f.Config, r.ID
	case *SourceRemoved:
		s.Removed = true
	}
}

// Add decides on a new source.
func (s *Source) Add(c SourceConfig) ([]Fact, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if s.ID != "" {
		return nil, Refuse(KindConflict, "source_exists", "the source exists already", "repeat without an id")
	}
	return []Fact{&SourceAdded{Config: c}}, nil
}

// Change decides on a whole new configuration of the same kind. expected, where it is not nil, is the revision that the
// caller saw.
func (s *Source) Change(c SourceConfig, expected *Revision) ([]Fact, error) {
	if !s.Exists() {
		return nil, errNoSource()
	}
	if err := atRevision(expected, s.Revision, "source"); err != nil {
		return nil, err
	}
	if c.Kind != s.Config.Kind {
		return nil, invalidSource("kind", "a source's kind can't be changed", "add another source")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return []Fact{&SourceChanged{Config: c}}, nil
}

// Remove decides on the source's end.
func (s *Source) Remove() ([]Fact, error) {
	if !s.Exists() {
		return nil, errNoSource()
	}
	return []Fact{&SourceRemoved{}}, nil
}

func errNoSource() error {
	return Refuse(KindNotFound, "source_not_found", "there is no such source", "list them with: hookledger source list")
}

func invalidSource(field, detail, fix string) error {
	return Refuse(KindInvalid, "invalid_source", "the source's "+field+": "+detail, fix)
}

// SourceFields are the names of what a source of a kind reads, for SourceConfig.Fields.
func SourceFields(kind string) []string {
	switch kind {
	case SourceAgenFleet:
		return []string{"id", "status", "tokensTodayInput", "tokensTodayOutput", "dailyTokenBudget", "monthlyTokenBudget",
			"alertThreshold", "costId", "actualCost", "budget", "token"}
	case SourceCron:
		return []string{"jobId", "runId", "agentId", "status", "startedAt", "finishedAt", "durationMs", "output"}
	}
	return nil
}

// SourceStatuses are the statuses of ours that a source's own words can stand for.
func SourceStatuses(kind string) []string {
	switch kind {
	case SourceAgenFleet:
		return []string{"online", "degraded", "offline"}
	case SourceCron:
		return []string{"success", "error"}
	}
	return nil
}

// check says what is wrong with a configuration. That the time zone is one is the caller's to check.
func (c *SourceConfig) check() error {
	switch {
	case c.Kind == SourceAgenFleet && c.Poll != nil && c.Cron == nil:
		if err := c.Poll.check(); err != nil {
			return err
		}
	case c.Kind == SourceCron && c.Cron != nil && c.Poll == nil:
		if err := c.Cron.check(); err != nil {
			return err
		}
	default:
		return invalidSource("kind", "it is not agenfleet or cron, or has another kind's settings",
			"give kind agenfleet with agenfleet's settings, or kind cron with cron's")
	}
	if len(c.Description) > 1024 {
		return invalidSource("description", "it is too long", "use at most 1024 characters")
	}
	if c.TimeZone == "" {
		return invalidSource("tz", "it is missing", "name a time zone such as UTC or Europe/Berlin")
	}
	names := SourceFields(c.Kind)
	for name, pointer := range c.Fields {
		if !slices.Contains(names, name) {
			return invalidSource("fields", "there is no field "+strconv.Quote(name), "use "+strings.Join(names, ", "))
		}
		if pointer == "" || pointer[0] != '/' || len(pointer) > 256 {
			return invalidSource("fields", name+" is no JSON Pointer", "write it like /job/id")
		}
	}
	ours := SourceStatuses(c.Kind)
	for theirs, status := range c.Statuses {
		if theirs == "" || len(theirs) > 128 || !slices.Contains(ours, status) {
			return invalidSource("statuses", strconv.Quote(theirs)+" stands for no status of ours",
				"map it to "+strings.Join(ours, ", "))
		}
	}
	if len(c.Statuses) > 50 {
		return invalidSource("statuses", "there are more than 50", "name fewer")
	}
	return nil
}

func (p *PollConfig) check() error {
	u, err := url.Parse(p.URL)
	switch {
	case err != nil || len(p.URL) > 2048 || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return invalidSource("url", "it is no http or https URL", "give the API's base, https://api.agenfleet.ai/api")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(p.URL, "#"):
		return invalidSource("url", "it has credentials, a query or a fragment",
			"give the API's base only; credentials go into fields of their own")
	case p.Auth != AuthLogin && p.Auth != AuthKey:
		return invalidSource("auth", "it is not login or api_key", "use login with email and password, or api_key")
	case p.Credentials.KeyID == "":
		return invalidSource("credentials", "they are missing", "give email and password, or an api_key")
	case !within(p.Every, MinPollEvery, MaxPollEvery):
		return invalidSource("every", "it is "+p.Every.String(), "use 10s to 24h")
	case p.CostsEvery != 0 && !within(p.CostsEvery, MinPollEvery, MaxPollEvery):
		return invalidSource("costs_every", "it is "+p.CostsEvery.String(), "use 10s to 24h, or 0 to leave costs out")
	case p.RateLimit < 1 || p.RateLimit > 6000:
		return invalidSource("rate_limit", "it is out of range", "use 1 to 6000 requests a minute; AgenFleet takes 60")
	case p.CostsEvery != 0 && !ValidCurrency(p.Currency):
		return invalidSource("currency", "costs are read and have none", "name it as ISO 4217 does, such as USD")
	case p.CostsEvery != 0 && p.CostPeriod != PeriodDaily && p.CostPeriod != PeriodMonthly:
		return invalidSource("cost_period", "it is not daily or monthly", "say which period the API's costs are of")
	case p.AlertThreshold != "" && !ValidShare(p.AlertThreshold):
		return invalidSource("alert_threshold", "it is no share", "give a decimal from 0 to 1, such as 0.8")
	}
	return nil
}

func within(d Duration, low, high time.Duration) bool {
	return time.Duration(d) >= low && time.Duration(d) <= high
}

func (c *CronConfig) check() error {
	switch {
	case len(c.TokenHash) != 32:
		return invalidSource("token", "it is missing", "repeat the request")
	case !within(c.Window, time.Second, MaxCronWindow):
		return invalidSource("window", "it is "+c.Window.String(), "use 1s to 1h, and less than the shortest schedule")
	case len(c.Job) > MaxIDLength:
		return invalidSource("job", "it is too long", "use at most 128 characters")
	}
	return nil
}

// ValidCurrency says whether a code has the form of ISO 4217.
func ValidCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// ValidShare says whether a text is a plain decimal from 0 to 1.
func ValidShare(s string) bool {
	whole, fraction, _ := strings.Cut(s, ".")
	switch {
	case len(s) > 20 || strings.Trim(whole+fraction, "0123456789") != "" || strings.HasSuffix(s, "."):
		return false
	case whole == "1":
		return strings.Trim(fraction, "0") == ""
	}
	return whole == "0"
}
