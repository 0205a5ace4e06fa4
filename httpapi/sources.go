package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"hookledger/delivery"
	"hookledger/domain"
	"hookledger/projections"
	"hookledger/sources/agenfleet"
	"hookledger/sources/cron"
)

// Polls says how the polling of sources goes; *agenfleet.Runner is one.
type Polls interface {
	Status(tenant, id string) (agenfleet.Status, bool)
	Test(ctx context.Context, s *domain.Source) (agenfleet.Report, error)
}

var _ Polls = (*agenfleet.Runner)(nil)

// SourceConfig is what of a source can be set.
type SourceConfig struct {
	Kind        string            `json:"kind" enum:"agenfleet,cron"`
	Description string            `json:"description,omitempty" maxLength:"1024"`
	TZ          string            `json:"tz,omitempty" maxLength:"64" example:"Europe/Berlin"`
	Fields      map[string]string `json:"fields,omitempty" doc:"JSON Pointers by the name of what is read there."`
	Statuses    map[string]string `json:"statuses,omitempty" doc:"The source's own words for statuses, by ours."`
	AgenFleet   *AgenFleetConfig  `json:"agenfleet,omitempty"`
	Cron        *CronConfig       `json:"cron,omitempty"`
}

// AgenFleetConfig are the settings of a source of kind agenfleet.
type AgenFleetConfig struct {
	URL            string          `json:"url" maxLength:"2048" example:"https://api.agenfleet.ai/api"`
	Auth           string          `json:"auth,omitempty" enum:"login,api_key"`
	Email          string          `json:"email,omitempty" maxLength:"512" doc:"To log in with; never shown."`
	Password       string          `json:"password,omitempty" maxLength:"4096" doc:"To log in with; never shown."`
	APIKey         string          `json:"api_key,omitempty" maxLength:"4096" doc:"In place of a login; never shown."`
	Every          domain.Duration `json:"every,omitzero" required:"false" example:"60s"`
	CostsEvery     domain.Duration `json:"costs_every,omitzero" required:"false" example:"1h"`
	RateLimit      int             `json:"rate_limit,omitempty" minimum:"0" maximum:"6000"`
	Currency       string          `json:"currency,omitempty" example:"USD"`
	CostPeriod     string          `json:"cost_period,omitempty" enum:"daily,monthly"`
	AlertThreshold float64         `json:"alert_threshold,omitempty" minimum:"0" maximum:"1" example:"0.8"`
}

// CronConfig are the settings of a source of kind cron.
type CronConfig struct {
	Job    string          `json:"job,omitempty" maxLength:"128" doc:"The job, where neither body nor URL names one."`
	Window domain.Duration `json:"window,omitzero" required:"false" example:"45s"`
	Prefix string          `json:"token_prefix,omitempty" readOnly:"true" doc:"To recognise the token by."`
}

// Source is a source as shown.
type Source struct {
	ID string `json:"id" example:"src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	// Path is there once, in the answer that its token was made for.
	Path string `json:"path,omitempty" doc:"Where a cron system posts to. It is shown this once: it holds the token."`
	SourceConfig
	Status    *SourceStatus   `json:"status,omitempty" doc:"How polling goes; absent where nothing is polled."`
	Events    *SourceEvents   `json:"events,omitempty" doc:"What came from it, in answers to GET."`
	Revision  domain.Revision `json:"revision" doc:"Grows with each change; the ETag, for If-Match."`
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}

// SourceEvents is what came from a source. It is counted from the ledger, soon after it was taken.
type SourceEvents struct {
	Count  int        `json:"count" doc:"Events on the ledger: a post that repeats one is none."`
	LastAt *time.Time `json:"last_at,omitempty" doc:"When the last of them was taken."`
}

// SourceStatus says how polling goes.
type SourceStatus struct {
	State       string     `json:"state" enum:"starting,polled,gap"`
	Agents      int        `json:"agents" doc:"Of the last good reading."`
	ReadAt      *time.Time `json:"read_at,omitempty" doc:"When it began."`
	CostsAt     *time.Time `json:"costs_at,omitempty" doc:"When costs were read last."`
	GapSince    *time.Time `json:"gap_since,omitempty" doc:"Since when nothing is known, while polls fail."`
	FailedPolls int        `json:"failed_polls,omitempty" doc:"In a row."`
	Code        string     `json:"code,omitempty" doc:"Why the last poll failed." example:"rate_limited"`
	Message     string     `json:"message,omitempty" doc:"What is wrong, and what to do about it."`
}

type sourceOutput struct {
	ETag string `header:"ETag"`
	Body Source
}

var errNoSuchSource = domain.Refuse(domain.KindNotFound, "source_not_found", "there is no such source",
	"list them with: hookledger source list")

func (a *api) registerSources() {
	register(a, operation{id: "list-sources", tag: "Sources", summary: "List sources"}, a.listSources)
	register(a, operation{id: "create-source", tag: "Sources", summary: "Add a source", status: http.StatusCreated,
		description: "Credentials go into the vault, and are never shown. A cron source's path is shown in this one " +
			"answer. A tenant has at most 1,000 sources."}, a.createSource)
	register(a, operation{id: "get-source", tag: "Sources", summary: "Get a source"}, a.getSource)
	register(a, operation{id: "update-source", tag: "Sources", summary: "Change a source",
		description: mergePatchDoc + " Credentials that are not named stay.", document: patchOf[SourceConfig](a,
			"SourcePatch")}, a.updateSource)
	register(a, operation{id: "delete-source", tag: "Sources", summary: "Remove a source", status: http.StatusNoContent,
		description: "Nothing is polled or taken for it any more, and its credentials are destroyed."}, a.deleteSource)
	register(a, operation{id: "rotate-source-token", tag: "Sources", summary: "Give a cron source a new token",
		description: "The answer shows the new path, once. What is posted to the old one is refused from then on. A " +
			"repeat with the same Idempotency-Key shows no path, and the one that was given holds."},
		a.rotateSourceToken)
	register(a, operation{id: "test-source", tag: "Sources", summary: "Try a source out",
		description: "Reads all that polling would read, or shows what a cron system's post would become. Nothing is " +
			"recorded: it may be repeated at will, and an Idempotency-Key has no effect."}, a.testSource)
	a.registerCronIn()
}

func (a *api) listSources(ctx context.Context, c *caller, in *struct{ PageInput }) (*listOutput[Source], error) {
	at, now, err := a.tableNow(ctx, in.MinPosition)
	if err != nil {
		return nil, err
	}
	brought, err := a.sourceEvents(ctx, c.tenant, in.MinPosition)
	if err != nil {
		return nil, err
	}
	var rows []placed[Source]
	for _, s := range a.Directory.Sources(c.tenant) {
		shown := a.showSource(s)
		shown.Events = showSourceEvents(brought[s.ID])
		rows = append(rows, placed[Source]{s.CreatedAt, s.ID, shown})
	}
	slices.SortFunc(rows, placed[Source].compare)
	return pageOf(&in.PageInput, rows, at, now)
}

type sourcePath struct {
	ID string `path:"id" maxLength:"128" doc:"The source's id." example:"src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
}

func (a *api) getSource(ctx context.Context, c *caller, in *sourcePath) (*sourceOutput, error) {
	s, err := a.source(ctx, c, in.ID)
	if err != nil {
		return nil, err
	}
	brought, err := a.sourceEvents(ctx, c.tenant, 0)
	if err != nil {
		return nil, err
	}
	out := a.answerSource(s)
	out.Body.Events = showSourceEvents(brought[s.ID])
	return out, nil
}

// sourceEvents gives what came from a tenant's sources, as of the position or later.
func (a *api) sourceEvents(ctx context.Context, tenant string, least uint64) (map[string]projections.SourceEvents,
	error) {
	if err := a.rowsAt(ctx, domain.Position(least)); err != nil {
		return nil, err
	}
	return a.History.SourceEvents(ctx, tenant)
}

func showSourceEvents(e projections.SourceEvents) *SourceEvents {
	return &SourceEvents{Count: e.Count, LastAt: timeOrNil(e.LastAt)}
}

func (a *api) source(ctx context.Context, c *caller, id string) (*domain.Source, error) {
	return lookAgain(ctx, a, a.configAt, func() (*domain.Source, error) {
		if s, ok := a.Directory.Source(c.tenant, id); ok {
			return s, nil
		}
		return nil, errNoSuchSource
	})
}

func (a *api) answerSource(s *domain.Source) *sourceOutput {
	return &sourceOutput{ETag: etag(s.Revision), Body: a.showSource(s)}
}

func (a *api) showSource(s *domain.Source) Source {
	return Source{ID: s.ID, SourceConfig: sourceConfigOf(s), Status: a.sourceStatus(s), Revision: s.Revision,
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt}
}

// sourceConfigOf is a source's configuration as it can be set, without its credentials.
func sourceConfigOf(s *domain.Source) SourceConfig {
	c := &s.Config
	out := SourceConfig{Kind: c.Kind, Description: c.Description, TZ: c.TimeZone, Fields: c.Fields, Statuses: c.Statuses}
	if p := c.Poll; p != nil {
		threshold, _ := strconv.ParseFloat(p.AlertThreshold, 64) // "" is none
		out.AgenFleet = &AgenFleetConfig{URL: p.URL, Auth: p.Auth, Every: p.Every, CostsEvery: p.CostsEvery,
			RateLimit: p.RateLimit, Currency: p.Currency, CostPeriod: p.CostPeriod, AlertThreshold: threshold}
	}
	if p := c.Cron; p != nil {
		out.Cron = &CronConfig{Job: p.Job, Window: p.Window, Prefix: p.TokenPrefix}
	}
	return out
}

func (a *api) sourceStatus(s *domain.Source) *SourceStatus {
	if s.Config.Kind != domain.SourceAgenFleet || a.Polls == nil {
		return nil
	}
	st, ok := a.Polls.Status(s.Tenant, s.ID)
	if !ok {
		return &SourceStatus{State: "starting"}
	}
	out := &SourceStatus{State: "polled", Agents: st.Agents, ReadAt: timeOrNil(st.ReadAt), CostsAt: timeOrNil(st.CostsAt),
		GapSince: timeOrNil(st.GapSince), FailedPolls: st.FailedPolls, Code: st.Code, Message: st.Message}
	if st.Code != "" {
		out.State = "gap"
	}
	return out
}

type testSourceInput struct {
	ID   string `path:"id" maxLength:"128" doc:"The source's id." example:"src_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Body struct {
		Body string `json:"body,omitempty" doc:"Of a cron source: what the cron system posts, as it comes."`
		Job  string `json:"job,omitempty" maxLength:"128" doc:"Of a cron source: the job that the URL names."`
	}
}

// SourceTest is what trying a source out brought.
type SourceTest struct {
	OK       bool           `json:"ok"`
	Agents   int            `json:"agents,omitempty" doc:"That are listed."`
	Statuses map[string]int `json:"statuses,omitempty" doc:"Agents by status."`
	Budgets  int            `json:"budgets,omitempty" doc:"Agents with a budget, of those that were looked at."`
	Costs    int            `json:"costs,omitempty" doc:"Agents with costs."`
	Event    *PostedEvent   `json:"event,omitempty" doc:"What a post becomes."`
	Code     string         `json:"code,omitempty"`
	Message  string         `json:"message,omitempty" doc:"What is wrong, and what to do about it."`
}

func (a *api) testSource(ctx context.Context, c *caller, in *testSourceInput) (*struct{ Body SourceTest }, error) {
	s, err := a.source(ctx, c, in.ID)
	if err != nil {
		return nil, err
	}
	if s.Config.Kind == domain.SourceCron {
		run, err := cron.Read(s, in.Body.Job, []byte(in.Body.Body), a.Now())
		if err != nil {
			return nil, err
		}
		return &struct{ Body SourceTest }{SourceTest{OK: true, Event: &PostedEvent{ID: run.ID, Event: cron.EventType,
			Timestamp: run.Timestamp, Source: s.ID, Data: JSONObject(run.Data)}}}, nil
	}
	if a.Polls == nil {
		return nil, newProblem(http.StatusServiceUnavailable, "not_polled", "this node polls no sources: ask one that does")
	}
	r, err := a.Polls.Test(ctx, s)
	if err != nil {
		return nil, err
	}
	return &struct{ Body SourceTest }{SourceTest{OK: r.Code == "", Agents: r.Agents, Statuses: r.Statuses,
		Budgets: r.Budgets, Costs: r.Costs, Code: r.Code, Message: r.Message}}, nil
}

// checkSourceURL refuses a URL whose host must not be asked, as for endpoints.
func (a *api) checkSourceURL(url string) error {
	scheme, host, _, err := domain.ParseTarget(url)
	if err != nil {
		return err
	}
	return delivery.CheckTarget(a.Egress, scheme, host)
}
