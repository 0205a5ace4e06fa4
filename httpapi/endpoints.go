package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"hookledger/domain"
	"hookledger/vault"
)

// EndpointConfig is what of an endpoint can be set.
type EndpointConfig struct {
	Destination
	URL           string            `json:"url,omitempty" maxLength:"2048"`
	EventTypes    []string          `json:"event_types" nullable:"false" maxItems:"100" example:"[\"agent.*\"]"`
	Description   string            `json:"description,omitempty" maxLength:"1024"`
	Metadata      map[string]string `json:"metadata,omitempty" doc:"At most 50 entries of your own."`
	RetrySchedule []domain.Duration `json:"retry_schedule,omitzero" required:"false" nullable:"false" maxItems:"50"`
	Timeout       domain.Duration   `json:"timeout,omitzero" required:"false" example:"20s"`
	RateLimit     float64           `json:"rate_limit,omitempty" minimum:"0"`
	MaxInFlight   int               `json:"max_in_flight,omitempty" minimum:"0"`
	Ordered       bool              `json:"ordered,omitempty"`
	OnExhausted   string            `json:"on_exhausted,omitempty" enum:"continue,wait"`
	DisableAfter  *domain.Duration  `json:"disable_after,omitempty" example:"120h"`
	Channel       string            `json:"channel,omitempty" enum:"url"`
	Secret        string            `json:"secret,omitempty" maxLength:"128"`
	Scheme        string            `json:"scheme,omitempty" enum:"v1,v1a"`
	ReceiverDemands
}

// Endpoint is an endpoint as shown; Secret is there once, in the answer to its creation.
type Endpoint struct {
	ID             string            `json:"id" example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Secret         string            `json:"secret,omitempty"`
	URL            string            `json:"url" example:"https://example.com/hooks/agenfleet"`
	Kind           string            `json:"kind" example:"webhook"`
	Status         string            `json:"status" enum:"enabled,disabled"`
	DisabledReason string            `json:"disabled_reason,omitempty" example:"manual"`
	EventTypes     []string          `json:"event_types" nullable:"false"`
	Description    string            `json:"description,omitempty"`
	Metadata       map[string]string `json:"metadata,omitempty"`
	RetrySchedule  []domain.Duration `json:"retry_schedule" nullable:"false"`
	Timeout        domain.Duration   `json:"timeout" example:"20s"`
	RateLimit      float64           `json:"rate_limit,omitempty"`
	MaxInFlight    int               `json:"max_in_flight,omitempty"`
	Ordered        bool              `json:"ordered,omitempty"`
	OnExhausted    string            `json:"on_exhausted,omitempty"`
	DisableAfter   *domain.Duration  `json:"disable_after,omitempty" example:"120h"`
	Channel        string            `json:"channel,omitempty"`
	Signing        domain.Signing    `json:"signing"`
	Revision       domain.Revision   `json:"revision" doc:"Grows with each change; the ETag, for If-Match."`
	CreatedAt      time.Time         `json:"created_at"`
	UpdatedAt      time.Time         `json:"updated_at"`
	Warnings       []string          `json:"warnings,omitempty" doc:"What was just set and is hardly meant so."`
	ShownDemands
	ShownDestination
}

type endpointOutput struct {
	ETag string `header:"ETag"`
	Body Endpoint
}

var errNoSuchEndpoint = domain.Refuse(domain.KindNotFound, "endpoint_not_found", "there is no such endpoint",
	"list them with: hookledger endpoint list")

func (a *api) registerEndpoints() {
	register(a, operation{id: "list-endpoints", tag: "Endpoints", summary: "List endpoints"}, a.listEndpoints)
	register(a, operation{id: "create-endpoint", tag: "Endpoints", summary: "Create an endpoint",
		status: http.StatusCreated, description: "From the answer on, events that match go there. The signing secret is " +
			"shown in this one answer. A tenant has at most 1,000 endpoints."}, a.createEndpoint)
	register(a, operation{id: "get-endpoint", tag: "Endpoints", summary: "Get an endpoint"}, a.getEndpoint)
	register(a, operation{id: "update-endpoint", tag: "Endpoints", summary: "Change an endpoint",
		description: mergePatchDoc, document: patchOf[EndpointConfig](a, "EndpointPatch")}, a.updateEndpoint)
	register(a, operation{id: "delete-endpoint", tag: "Endpoints", summary: "Delete an endpoint",
		status: http.StatusNoContent, description: "It ends all its deliveries that are not in flight, and lists say so from the " +
			"answer on."}, a.deleteEndpoint)
	a.registerSigning()
	register(a, operation{id: "enable-endpoint", tag: "Endpoints", summary: "Enable an endpoint",
		description: "Its deliveries that were held go on."}, a.enableEndpoint)
	register(a, operation{id: "disable-endpoint", tag: "Endpoints", summary: "Disable an endpoint",
		description: "Its deliveries are held until it is enabled; events that come meanwhile are not routed to it."},
		a.disableEndpoint)
}

func (a *api) listEndpoints(ctx context.Context, c *caller, in *struct{ PageInput }) (*listOutput[Endpoint], error) {
	at, now, err := a.tableNow(ctx, in.MinPosition)
	if err != nil {
		return nil, err
	}
	routing, ok := a.Directory.Routing(c.tenant)
	if !ok {
		return nil, errNoSuchTenant
	}
	var rows []placed[*domain.Endpoint]
	for _, e := range routing.Endpoints {
		rows = append(rows, placed[*domain.Endpoint]{e.CreatedAt, e.ID, e})
	}
	slices.SortFunc(rows, placed[*domain.Endpoint].compare)
	page, err := pageOf(&in.PageInput, rows, at, now)
	if err != nil {
		return nil, err
	}
	b := page.Body
	out := &listOutput[Endpoint]{Body: List[Endpoint]{Data: make([]Endpoint, len(b.Data)), NextCursor: b.NextCursor,
		HasMore: b.HasMore, AsOfPosition: b.AsOfPosition, AsOf: b.AsOf}}
	for i, e := range b.Data { // only those of the page are opened
		if out.Body.Data[i], err = a.showEndpoint(ctx, c, e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type endpointPath struct {
	ID string `path:"id" maxLength:"128" doc:"The endpoint's id." example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
}

func (a *api) getEndpoint(ctx context.Context, c *caller, in *struct {
	ID string `path:"id" maxLength:"128" doc:"The endpoint's id." example:"ep_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	AsOfInput
}) (*endpointOutput, error) {
	if in.AsOf != "" {
		return a.endpointThen(ctx, c, in.ID, in.AsOfInput)
	}
	e, err := lookAgain(ctx, a, a.configAt, func() (*domain.Endpoint, error) {
		if e, ok := a.Directory.Endpoint(c.tenant, in.ID); ok && e.Exists() {
			return e, nil
		}
		return nil, errNoSuchEndpoint
	})
	if err != nil {
		return nil, err
	}
	return a.answerEndpoint(ctx, c, e)
}

func (a *api) answerEndpoint(ctx context.Context, c *caller, e *domain.Endpoint) (*endpointOutput, error) {
	shown, err := a.showEndpoint(ctx, c, e)
	return &endpointOutput{ETag: etag(e.Revision), Body: shown}, err
}

func (a *api) showEndpoint(ctx context.Context, c *caller, e *domain.Endpoint) (Endpoint, error) {
	cfg := &e.Config
	url, err := a.endpointURL(ctx, c, e)
	if err != nil {
		return Endpoint{}, err
	}
	to, err := a.showDestination(ctx, c, e)
	if err != nil {
		return Endpoint{}, err
	}
	status := "enabled"
	if e.Disabled {
		status = "disabled"
	}
	return Endpoint{ID: e.ID, URL: url, Kind: cfg.Kind, Channel: cfg.ChannelName(), Status: status,
		DisabledReason: e.DisabledReason, EventTypes: cfg.EventTypes, Description: cfg.Description, Metadata: cfg.Metadata,
		RetrySchedule: append([]domain.Duration{}, cfg.RetrySchedule...), Timeout: cfg.Timeout, RateLimit: cfg.RateLimit,
		MaxInFlight: cfg.MaxInFlight, Ordered: cfg.Ordered, OnExhausted: cfg.OnExhausted,
		DisableAfter: cfg.DisableAfter, Signing: cfg.Signing, Revision: e.Revision, CreatedAt: e.CreatedAt,
		UpdatedAt:    e.UpdatedAt,
		ShownDemands: a.showDemands(cfg), ShownDestination: to}, nil
}

// endpointURL is the URL as far as the caller may see it.
func (a *api) endpointURL(ctx context.Context, c *caller, e *domain.Endpoint) (string, error) {
	place := vault.Place{Tenant: e.Tenant, Stream: domain.EndpointStream(e.Tenant, e.ID), Record: e.ConfigRecord,
		Type: e.ConfigType}
	return a.targetURL(ctx, c, &e.Config, place)
}

// hiddenPath stands for an URL's path that is not shown.
const hiddenPath = "/…"

// targetURL opens a configuration's URL: whole for those who may see it. Others, and everybody once it is erased, see
// scheme and host.
func (a *api) targetURL(ctx context.Context, c *caller, cfg *domain.EndpointConfig, p vault.Place) (string, error) {
	if !c.seesURLs() {
		return cfg.Scheme + "://" + cfg.Host + hiddenPath, nil
	}
	content, err := a.openEndpoint(ctx, cfg, p)
	if errors.Is(err, vault.ErrErased) {
		return cfg.Scheme + "://" + cfg.Host + hiddenPath, nil
	}
	if err != nil {
		return "", err
	}
	return cfg.Target(content), nil
}

func (a *api) openEndpoint(ctx context.Context, cfg *domain.EndpointConfig,
	p vault.Place) (domain.EndpointContent, error) {
	var content domain.EndpointContent
	err := a.open(ctx, p, cfg.Content, &content)
	return content, err
}

// open decrypts what a record seals and reads it.
func (a *api) open(ctx context.Context, p vault.Place, s *domain.Sealed, into any) error {
	if s.Empty() {
		return nil
	}
	plain, err := a.Vault.Open(ctx, p, s)
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, into)
}
