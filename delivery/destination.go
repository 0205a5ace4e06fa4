package delivery

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"hookledger/domain"
)

// destination is a kind of endpoint: what goes on its wire, how it gets there, and what an answer means. Each kind is
// one file. A destination holds no state, and is used by many goroutines at once.
type destination interface {
	// prepare completes p with all that goes on the wire. It sends nothing and asks nobody but the vault. The same order
	// gives the same body on every attempt, whatever the time is. Its error is recorded, and so names no secret.
	prepare(o order, p *prepared) error
	// send hands it over, once, and reads the answer. The timeout of p ends it, and so does the context. It never panics,
	// and gives no error for an answer that says no.
	send(ctx context.Context, s *sender, p *prepared) *result
	// judge says what an answer means beyond its status. It may set when the service asks to come again.
	judge(r *result) verdict
}

// verdict is what an answer means beyond its status.
type verdict uint8

const (
	byStatus    verdict = iota // a 2xx confirms, anything else is retried
	unconfirmed                // not what the service confirms with, for all its 2xx: retried
	rejected                   // the service's last word on this event
)

// order is what an attempt is to deliver.
type order struct {
	ctx      context.Context
	delivery *Delivery
	due      domain.Due
	endpoint *domain.Endpoint
	event    domain.EventBody
	mark     string // of a repetition, else empty: domain.Delivery.Mark
	now      time.Time
}

// destinationOf gives the destination of an endpoint's kind.
func destinationOf(kind string) (destination, error) {
	switch kind {
	case domain.EndpointWebhook:
		return webhook{}, nil
	case domain.EndpointSlack:
		return slack{}, nil
	case domain.EndpointTelegram:
		return telegram{}, nil
	case domain.EndpointEmail:
		return email{}, nil
	}
	return nil, fmt.Errorf("endpoints of kind %q are not known to this version of hookledger", kind)
}

// plainHeaders are those of a request that carries no signature.
func plainHeaders(contentType string, length int) []domain.Header {
	return []domain.Header{{Name: headerUserAgent, Value: userAgent},
		{Name: headerLength, Value: strconv.Itoa(length)}, {Name: headerContentType, Value: contentType}}
}

// setHeaders makes the request's headers of the recorded ones, with room for more; it gives the room. The names are
// written as they stand, and Content-Length comes from the body.
func (p *prepared) setHeaders(more int) []string {
	values := make([]string, len(p.headers)+more)
	p.header = make(http.Header, len(values))
	for i, h := range p.headers {
		if h.Name != headerLength {
			p.setHeader(values[i:], h.Name, h.Value)
		}
	}
	return values[len(p.headers):]
}

// setHeader sets a header to a value, which it keeps in the first of values.
func (p *prepared) setHeader(values []string, name, value string) {
	values[0] = value
	p.header[name] = values[:1:1]
}
