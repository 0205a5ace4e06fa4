package delivery

import (
	"context"
	"fmt"
	"strconv"

	"hookledger/domain"
)

// webhook is an HTTP endpoint that gets the event's own bytes, signed by Standard Webhooks.
type webhook struct{}

var _ destination = webhook{}

func (webhook) prepare(o order, p *prepared) error {
	key, err := o.delivery.cfg.Vault.SigningKey(o.ctx, o.endpoint.Config.Signing.KeyID)
	if err != nil {
		return signingError(err)
	}
	contentType := defaultContentType
	if received := o.event.Received; received != nil && received.ContentType != "" {
		contentType = received.ContentType
	}
	p.headers = plainHeaders(contentType, len(p.body))
	ts := o.now.Unix()
	p.signed = domain.RequestSigned{Scheme: domain.SchemeV1, KeyIDs: []string{o.endpoint.Config.Signing.KeyID},
		WebhookID: o.due.Event, WebhookTimestamp: ts, Signatures: domain.Sign([][]byte{key}, o.due.Event, ts, p.body)}
	return nil
}

// signingError keeps "erased" to mean the event: an endpoint whose signing key is gone is a fault, and recorded as one.
func signingError(err error) error { return fmt.Errorf("the endpoint's signing key: %v", err) } //nolint:errorlint // so

func (webhook) send(ctx context.Context, s *sender, p *prepared) *result {
	more := p.setHeaders(3)
	p.setHeader(more, domain.HeaderWebhookID, p.signed.WebhookID)
	p.setHeader(more[1:], domain.HeaderWebhookTimestamp, strconv.FormatInt(p.signed.WebhookTimestamp, 10))
	p.setHeader(more[2:], domain.HeaderWebhookSignature, p.signed.Signatures)
	return s.send(ctx, p)
}

func (webhook) judge(*result) verdict { return byStatus }
