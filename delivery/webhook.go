package delivery

import (
	"context"
	"strconv"

	"hookledger/domain"
)

// webhook is an HTTP endpoint that gets the event's own bytes, signed by Standard Webhooks.
type webhook struct{}

var _ destination = webhook{}

func (webhook) prepare(o order, p *prepared) error {
	contentType := defaultContentType
	if received := o.event.Received; received != nil && received.ContentType != "" {
		contentType = received.ContentType
	}
	p.headers = plainHeaders(contentType, len(p.body))
	if err := o.delivery.sign(o.ctx, p, &o.endpoint.Config.Signing, o.due.Event, o.now); err != nil {
		return err
	}
	if p.target.demands != nil {
		p.target.demands.apply(p)
	}
	return nil
}

func (webhook) send(ctx context.Context, s *sender, p *prepared) *result {
	more := p.setHeaders(3)
	p.setHeader(more, domain.HeaderWebhookID, p.signed.WebhookID)
	p.setHeader(more[1:], domain.HeaderWebhookTimestamp, strconv.FormatInt(p.signed.WebhookTimestamp, 10))
	p.setHeader(more[2:], domain.HeaderWebhookSignature, p.signed.Signatures)
	if x := p.target.demands; x != nil {
		for i, h := range x.headers {
			p.header[h.Name] = x.values[i : i+1 : i+1]
		}
	}
	r := s.send(ctx, p)
	if x := p.target.demands; x != nil {
		r.redact(x.redact)
	}
	return r
}

func (webhook) judge(*result) verdict { return byStatus }
