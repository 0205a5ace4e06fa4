package followups

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/vault"
)

// ended is what a delivery's stream says of its end.
type ended struct {
	endpoint  string
	attempts  int
	succeeded bool
	reason    string // of its exhaustion
	failure   string // what the last attempt came to: an HTTP status or an error's code
	// revision is that of the endpoint's configuration which the last attempt was made with.
	revision domain.Revision
}

// readDelivery reads a delivery's stream up to the evidence.
func (r *Runner) readDelivery(ctx context.Context, f *domain.FollowUp) (ended, error) {
	var d ended
	for rec, err := range r.cfg.Store.ReadStream(ctx, domain.DeliveryStream(f.Tenant, f.Delivery), 0) {
		if err != nil {
			return d, fmt.Errorf("read delivery %s: %w", f.Delivery, err)
		}
		switch fact := rec.Fact.(type) {
		case *domain.DeliveryScheduled:
			d.endpoint = fact.Endpoint
		case *domain.AttemptStarted:
			d.revision = fact.EndpointRevision
		case *domain.ResponseReceived:
			d.failure = strconv.Itoa(fact.Status)
		case *domain.AttemptFailed:
			d.failure = string(fact.Code)
		case *domain.AttemptInterrupted:
			d.failure = string(domain.CodeInterrupted)
		case *domain.DeliverySucceeded:
			d.succeeded, d.attempts = true, fact.Attempts
		case *domain.DeliveryExhausted:
			d.succeeded, d.attempts, d.reason = false, fact.Attempts, fact.Reason
		}
		if rec.ID == f.Evidence {
			return d, nil
		}
	}
	return d, fmt.Errorf("record %s does not stand in delivery %s", f.Evidence, f.Delivery)
}

// channel is the one that the endpoint was at the revision.
func (r *Runner) channel(ctx context.Context, tenant, endpoint string, at domain.Revision) (string, error) {
	for rec, err := range r.cfg.Store.ReadStream(ctx, domain.EndpointStream(tenant, endpoint), at) {
		if err != nil {
			return "", fmt.Errorf("read endpoint %s: %w", endpoint, err)
		}
		switch fact := rec.Fact.(type) {
		case *domain.EndpointRegistered:
			return fact.Config.ChannelName(), nil
		case *domain.EndpointReconfigured:
			return fact.Config.ChannelName(), nil
		}
		break
	}
	return "", nil
}

// channelEnded says what became of a cron job's output on its way to a channel: once for each run and channel, whatever
// came first.
func (r *Runner) channelEnded(ctx context.Context, f *domain.FollowUp) (string, error) {
	body, err := r.cfg.Bodies.Event(ctx, f.Tenant, f.Event)
	if errors.Is(err, vault.ErrErased) {
		return resultErased, nil
	}
	if err != nil {
		return "", fmt.Errorf("open event %s: %w", f.Event, err)
	}
	if body.Received.Event != domain.TypeCronCompleted {
		return resultMoot, nil
	}
	d, err := r.readDelivery(ctx, f)
	if err != nil {
		return "", err
	}
	channel, err := r.channel(ctx, f.Tenant, d.endpoint, d.revision)
	if err != nil || channel == "" {
		return resultMoot, err
	}
	var envelope struct {
		Data struct {
			JobID string `json:"jobId"`
			RunID string `json:"runId"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body.Body, &envelope); err != nil {
		return "", domain.Refuse(domain.KindInvalid, "unreadable_event", "the event "+f.Event+" is no cron.completed: "+
			err.Error(), "")
	}
	job, run := envelope.Data.JobID, envelope.Data.RunID
	if job == "" || run == "" {
		return resultMoot, nil // of a schema of the tenant's own, that asks for neither
	}
	kind, data, err := d.said(f, job, run, channel)
	if err != nil {
		return "", err
	}
	id := domain.DerivedID(time.Time{}, "channel_ended", f.Tenant, run, channel)
	return r.post(ctx, ingest.Post{Tenant: f.Tenant, ID: domain.NewID(domain.PrefixEvent, id), Event: kind,
		Timestamp: &f.At, Subject: body.Subject, Data: data})
}

// said is the event's type and data.
func (d *ended) said(f *domain.FollowUp, job, run, channel string) (string, json.RawMessage, error) {
	type head struct {
		JobID    string `json:"jobId"`
		RunID    string `json:"runId"`
		Channel  string `json:"channel"`
		Attempts int    `json:"attempts"`
	}
	h := head{job, run, channel, d.attempts}
	if d.succeeded {
		data, err := json.Marshal(struct {
			head
			DeliveredAt time.Time `json:"deliveredAt"`
			DeliveryID  string    `json:"deliveryId"`
		}{h, f.At.UTC(), f.Delivery})
		return domain.TypeCronDelivered, data, err
	}
	data, err := json.Marshal(struct {
		head
		Error      string `json:"error"`
		DeliveryID string `json:"deliveryId"`
	}{h, d.failure, f.Delivery})
	return domain.TypeCronFailed, data, err
}
