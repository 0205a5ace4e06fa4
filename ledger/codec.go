package ledger

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	v1 "github.com/go-json-experiment/json/v1"
	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// Format is the version of the records' encoding that this binary writes.
const Format = 1

type header struct {
	ID        ulid.ULID       `json:"id"`
	Type      string          `json:"type"`
	Version   int             `json:"version"`
	Tenant    string          `json:"tenant"`
	Stream    domain.Stream   `json:"stream"`
	Revision  domain.Revision `json:"revision"`
	Time      time.Time       `json:"time"`
	Causation ulid.ULID       `json:"causation,omitzero"`
}

type body struct {
	Actor       domain.Actor   `json:"actor"`
	Correlation string         `json:"correlation,omitzero"`
	Data        jsontext.Value `json:"data"`
}

const timeLayout = "2006-01-02T15:04:05.000000000Z"

var canonical = json.JoinOptions(json.Deterministic(true), json.RejectUnknownMembers(true),
	v1.OmitEmptyWithLegacySemantics(true), jsontext.AllowInvalidUTF8(true),
	json.WithMarshalers(json.MarshalToFunc(func(e *jsontext.Encoder, t time.Time) error {
		return e.WriteToken(jsontext.String(t.UTC().Format(timeLayout)))
	})))

// AppendHeader appends a record's canonical header; its Revision must be set.
func AppendHeader(b []byte, r *domain.Record) []byte {
	h, err := json.Marshal(header{r.ID, r.Fact.RecordType(), r.Fact.RecordVersion(), r.Tenant, r.Stream, r.Revision,
		r.RecordedAt, r.Causation}, canonical)
	if err != nil {
		panic(err) // no value of these types is without an encoding
	}
	return append(b, h...)
}

// AppendBody appends a record's canonical body.
func AppendBody(b []byte, r *domain.Record) ([]byte, error) {
	var data []byte
	var err error
	if u, ok := r.Fact.(*domain.Unknown); ok {
		data = u.Data
	} else if data, err = json.Marshal(r.Fact, canonical); err != nil {
		return b, fmt.Errorf("encode %s: %w", r.Fact.RecordType(), err)
	}
	out, err := json.Marshal(body{r.Actor, r.Correlation, data}, canonical)
	if err != nil {
		return b, fmt.Errorf("encode %s: %w", r.Fact.RecordType(), err)
	}
	return append(b, out...), nil
}

var facts = map[string]func() domain.Fact{}

func init() {
	for _, f := range []func() domain.Fact{
		func() domain.Fact { return new(domain.LedgerCreated) }, func() domain.Fact { return new(domain.TenantRegistered) },
		func() domain.Fact { return new(domain.TenantReconfigured) },
		func() domain.Fact { return new(domain.EventTypeRegistered) },
		func() domain.Fact { return new(domain.EndpointRegistered) },
		func() domain.Fact { return new(domain.EndpointReconfigured) },
		func() domain.Fact { return new(domain.EndpointDisabled) },
		func() domain.Fact { return new(domain.EndpointEnabled) },
		func() domain.Fact { return new(domain.EndpointRemoved) }, func() domain.Fact { return new(domain.KeyIssued) },
		func() domain.Fact { return new(domain.KeyRevoked) }, func() domain.Fact { return new(domain.EventReceived) },
		func() domain.Fact { return new(domain.EventRouted) }, func() domain.Fact { return new(domain.DeliveryScheduled) },
		func() domain.Fact { return new(domain.AttemptStarted) }, func() domain.Fact { return new(domain.RequestSigned) },
		func() domain.Fact { return new(domain.ResponseReceived) }, func() domain.Fact { return new(domain.AttemptFailed) },
		func() domain.Fact { return new(domain.AttemptInterrupted) },
		func() domain.Fact { return new(domain.RetryScheduled) },
		func() domain.Fact { return new(domain.DeliverySucceeded) },
		func() domain.Fact { return new(domain.DeliveryExhausted) },
		func() domain.Fact { return new(domain.DeliveryCancelled) }, func() domain.Fact { return new(domain.RetryRequested) },
	} {
		facts[f().RecordType()] = f
	}
}

// Decode reads a record back; a type or version that this binary does not know gives *domain.Unknown. Position is the
// store's to set. The record keeps no reference to header and body.
func Decode(hdr, bdy []byte) (*domain.Record, error) {
	var h header
	var b body
	if err := json.Unmarshal(hdr, &h, canonical); err != nil {
		return nil, fmt.Errorf("decode a record's header: %w", err)
	}
	if err := json.Unmarshal(bdy, &b, canonical); err != nil {
		return nil, fmt.Errorf("decode %s: %w", h.Type, err)
	}
	r := &domain.Record{ID: h.ID, Stream: h.Stream, Revision: h.Revision, RecordedAt: h.Time, Tenant: h.Tenant,
		Actor: b.Actor, Correlation: b.Correlation, Causation: h.Causation}
	fresh, ok := facts[h.Type]
	if !ok || fresh().RecordVersion() < h.Version {
		r.Fact = &domain.Unknown{Type: h.Type, Version: h.Version, Data: b.Data}
		return r, nil
	}
	r.Fact = fresh()
	if err := json.Unmarshal(b.Data, r.Fact, canonical); err != nil {
		return nil, fmt.Errorf("decode %s: %w", h.Type, err)
	}
	return r, nil
}
